"""Networks of many tasks at once: tasks are the groups of a convolution.

A tensor in here holds images as [N, T * C, H, W] with channels innermost: N examples of each of
T tasks, every task with C channels of its own. Autograd's own second derivatives of grouped
convolutions, of pooling and of batch normalisation are slow on CPUs, so these three are
functions whose derivatives are written out.
"""
