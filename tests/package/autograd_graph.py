"""What autograd recorded behind a tensor."""

from torch import Tensor

__all__ = ["nodes_behind"]


def nodes_behind(output: Tensor) -> list[str]:
    """Return the kinds of all nodes of the graph behind a tensor."""
    waiting, found = [output.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [before for before, _ in node.next_functions]
    return [type(node).__name__ for node in found]
