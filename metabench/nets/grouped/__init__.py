"""Networks of many tasks at once: tasks are the groups of a convolution.

Tensors hold images as [N, T * C, H, W] with channels innermost: N examples of each of T tasks,
each task with C channels of its own. Autograd's second derivatives of grouped convolutions, of
pooling and of batch normalisation are slow on CPUs, so the derivatives of these three are
written out.
"""
