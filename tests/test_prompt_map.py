import pytest
import torch

from spft.bin.prompt_map import nearest, project


@pytest.fixture
def groups():
    """Everything lies in a plane of a wider space, but for a little noise."""
    torch.manual_seed(0)
    plane = torch.linalg.qr(torch.randn(8, 2)).Q.T
    sizes = {"prompt": 4, "audio": 50, "text": 30}
    spread = torch.tensor([[3.0, 0.5]])
    return {
        name: (torch.randn(n, 2) * spread) @ plane + 1e-3 * torch.randn(n, 8)
        for name, n in sizes.items()
    }


def test_distances_in_the_plane_are_kept(groups):
    flat = {name: torch.tensor(points) for name, points in project(groups).items()}
    for name, vectors in groups.items():
        expected = torch.cdist(vectors, groups["audio"])
        found = torch.cdist(flat[name], flat["audio"])
        torch.testing.assert_close(found, expected, atol=0.02, rtol=0.01)


def test_a_copied_token_is_the_nearest(groups):
    groups["prompt"][1] = 2 * groups["text"][7]
    groups["prompt"][2] = groups["audio"][3]
    found = nearest(groups, [f" w{i}" for i in range(30)])
    assert found[1]["tokens"][0] == ["w7", 1.0]
    assert found[2]["audio"] == 1.0
    closeness = [near for _, near in found[0]["tokens"]]
    assert closeness == sorted(closeness, reverse=True)
