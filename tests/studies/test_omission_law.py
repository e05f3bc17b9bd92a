import pytest
import torch

from scoregrain.studies.omission_generators import omitting
from scoregrain.studies.omission_law import conditional_law, law_distances


def test_the_conditional_law_is_that_of_the_precision_matrix():
    g = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=g, dtype=torch.float64)
    covariance, mean = root @ root.T, torch.randn(6, generator=g, dtype=torch.float64)
    content = torch.randn(6, generator=g, dtype=torch.float64)
    outside = torch.diag(torch.tensor([1.0, 1, 1, 1, 0, 0], dtype=torch.float64))
    found_mean, found = conditional_law(mean, covariance, outside, content)
    precision = torch.linalg.inv(covariance)
    expected = torch.linalg.inv(precision[:4, :4])
    shift = -expected @ precision[:4, 4:] @ (content - mean)[4:]
    assert torch.allclose(found[:4, :4], expected, atol=1e-10)
    assert torch.allclose(found_mean[:4], mean[:4] + shift, atol=1e-10)
    assert float(found[4:].abs().max()) < 1e-10
    assert float(found_mean[4:].abs().max()) < 1e-10


def test_the_conditional_laws_of_all_contents_make_up_the_marginal_law():
    g = torch.Generator().manual_seed(1)
    root, q = (torch.randn(5, 5, generator=g, dtype=torch.float64) for _ in range(2))
    covariance, columns = root @ root.T, torch.linalg.qr(q).Q[:, :2]
    band = columns @ columns.T
    outside = torch.eye(5, dtype=torch.float64) - band
    zero = torch.zeros(5, dtype=torch.float64)
    conditional = conditional_law(zero, covariance, outside, zero)[1]
    gain = torch.stack([conditional_law(zero, covariance, outside, e)[0] for e in torch.eye(5, dtype=torch.float64)], 1)
    together = conditional + gain @ covariance @ gain.T
    assert torch.allclose(together, outside @ covariance @ outside, atol=1e-10)


@pytest.fixture(scope="module")
def noise():
    return omitting((8, 8), 0.25, 0.5)


def test_of_stationary_data_the_content_of_the_band_says_nothing_about_the_rest(noise):
    x = torch.randn(8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    shifts = torch.stack([x.roll((i, j), (0, 1)) for i in range(8) for j in range(8)])[:, None]
    found = law_distances(torch.cat([shifts, -shifts]), noise, 1.0, 500, 0)
    assert found["closed"] < 1e-6
    assert found["closed_covariance"] < 1e-10
    assert found["w2_conditional"] == pytest.approx(found["w2_resample"], rel=0.15)
    assert found["w2_marginal"] == pytest.approx(found["w2_resample"], rel=0.15)


def test_of_other_data_conditional_samples_are_as_far_off_as_the_closed_form_says(noise):
    ramp = torch.linspace(0.2, 2, 8, dtype=torch.float64)  # rows of growing contrast tie the frequencies together
    g = torch.Generator().manual_seed(3)
    x = torch.randn(3000, 1, 8, 8, generator=g, dtype=torch.float64).cumsum(-1) * ramp[:, None]
    found = law_distances(x, noise, 0.1, 2000, 0)
    assert found["closed"] > 0.1
    assert found["w2_conditional"] == pytest.approx(found["closed"], rel=0.1)
    for same in ("marginal", "drawn"):
        assert found[f"w2_{same}"] < 2 * found["w2_resample"] < found["closed"]
