class PermutationFlow(torch.nn.Module):
    """Keeps both index tensors as buffers."""

    def __init__(self, destination):
        super().__init__()
        goes_to = list(map(int, destination))
        comes_from = [-1] * len(goes_to)
        for source, place in enumerate(goes_to):
            if not 0 <= place < len(goes_to) or comes_from[place] != -1:
                raise ValueError(f"{place} is out of range or given twice")
            comes_from[place] = source
        self.register_buffer("goes_to", torch.tensor(goes_to))
        self.register_buffer("comes_from", torch.tensor(comes_from))

    @staticmethod
    def _pick(points, index):
        return torch.gather(points, -1, index.expand(points.shape)), torch.zeros(points.shape[:-1], dtype=points.dtype)

    def forward(self, x):
        return self._pick(x, self.comes_from)

    def inverse(self, z):
        return self._pick(z, self.goes_to)
