"""The choice of an op's implementation by the device of its tensors."""

from importlib.util import find_spec

from torch import Tensor


def resolve_backend(backend: str, *tensors: Tensor, gpu: str = "triton", cpu: str = "reference") -> str:
    """Name the implementation that serves these tensors.

    Args:
        backend: `"auto"`, or the name of an implementation, which is returned as it is.
        tensors: What the op works on.
        gpu: Implementation for CUDA tensors.
        cpu: Implementation for all others, and for CUDA tensors where Triton is not installed and `gpu` needs it.

    Returns:
        The name of the implementation.

    Raises:
        ValueError: If the tensors lie on different devices.

    Example:
        >>> import torch
        >>> resolve_backend("auto", torch.zeros(3), cpu="attention")
        'attention'
        >>> resolve_backend("reference", torch.zeros(3))
        'reference'
    """
    devices = sorted({str(tensor.device) for tensor in tensors})
    if len(devices) > 1:
        raise ValueError(f"tensors lie on different devices ({', '.join(devices)}): move them to one")
    if backend != "auto":
        return backend
    if not tensors or tensors[0].device.type != "cuda":
        return cpu
    return cpu if gpu == "triton" and find_spec("triton") is None else gpu
