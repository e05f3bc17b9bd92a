"""``scoregrain noise preview``: what it prints and writes, which noises it reads, how it refuses."""

import json
import resource

import numpy as np
import pytest
import torch

from scoregrain.noise import ForwardNoise
from scoregrain.noise.weights import Custom
from scoregrain.operators import DiagonalOperator

FILES = ["config.json", "preview.json", "preview.png"]
PREVIEW = ("noise", "preview")


@pytest.fixture
def quick(monkeypatch):
    """A figure takes half a second: only the tests that are about it draw one."""
    monkeypatch.setattr("scoregrain.report.noise_figure.noise_figure", lambda preview: b"\x89PNG")


def test_it_prints_the_law_and_how_draws_measure_up(command, folder):
    out = command.runs(*PREVIEW, "power-law:alpha=-0.06", "--size", "32").out
    lines = out.splitlines()
    assert lines[0] == "power-law:alpha=-0.06 on 1×32×32"
    assert "unit: standard deviation 1 of every pixel (exact)" in lines[1]
    assert "1.454" in lines[2]  # (22.6)^0.12
    assert "1024 of 1024: no dimension is left without noise" in lines[3]
    assert "41.47% of the power below half the corner's radius; white noise has 39.16% there" in lines[5]
    assert "the law -0.120" in lines[7]
    assert lines[8].split() == ["written", "to", "scoregrain-noise-power-law-alpha=-0.06-1"]
    written = folder / "scoregrain-noise-power-law-alpha=-0.06-1"
    assert sorted(path.name for path in written.iterdir()) == FILES
    assert (written / "preview.png").stat().st_size > 50_000


@pytest.mark.usefixtures("quick")
def test_json_is_the_numbers_of_the_file(command, folder):
    told = command.runs(*PREVIEW, "band-pass:low=0,high=0.5", "--json", "--out", "seen").json
    assert told.pop("out") == "seen"
    assert told == json.loads((folder / "seen" / "preview.json").read_text())
    assert (told["rank"], told["dimension"], told["normalize"]) == (401, 1024, "unit")
    assert told["deviation"] < 4


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        ([], [1, 32, 32]),
        (["--size", "7"], [1, 7, 7]),
        (["--size", "28", "20"], [1, 28, 20]),
        (["--size", "28", "20", "--dims", "2"], [1, 28, 20]),
        (["--size", "6", "5", "4", "--channels", "3"], [3, 6, 5, 4]),
        (["--size", "64", "--dims", "1"], [1, 64]),
        (["--size", "8", "--dims", "3"], [1, 8, 8, 8]),
        (["--dims", "1", "--channels", "2"], [2, 32]),
    ],
)
@pytest.mark.usefixtures("quick")
def test_sizes(command, words, shape):
    assert command.runs(*PREVIEW, "pink", *words, "--json").json["shape"] == shape


@pytest.mark.usefixtures("quick")
def test_the_samples_and_the_seed_are_what_is_measured(command):
    def measured(*words):
        return command.runs(*PREVIEW, "pink", "--size", "8", *words, "--json").json["radial_spectrum"]["measured"]

    assert measured() == measured("--seed", "0") == measured("--samples", "256")
    assert measured() != measured("--seed", "-1")
    assert measured() != measured("--samples", "16")


@pytest.mark.usefixtures("quick")
def test_folders_by_default_are_numbered_and_plain(command, folder):
    for _ in range(2):
        command.runs(*PREVIEW, "blue*exponential:beta=1", "--size", "4")
    command.runs(*PREVIEW, "*".join(["exponential:beta=0.01"] * 30), "--size", "4")
    names = [path.name for path in folder.iterdir()]
    assert {f"scoregrain-noise-blue-exponential-beta=1-{n}" for n in (1, 2)} < set(names)
    assert max(map(len, names)) < 120


def test_what_is_ill_conditioned_is_shown_with_a_plain_warning(command):
    outcome = command.runs(*PREVIEW, "power-law:alpha=-2.5", "--size", "32")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("warning: the noise power-law:alpha=-2.5 has condition number")


# noises that no string holds ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_equal_snr_is_fitted_to_data_and_kept(command, folder):
    outcome = command.runs(*PREVIEW, "equal-snr", "--data", "digits", "--out", "seen", "--json")
    assert outcome.err.startswith("note: ")
    told = outcome.json
    assert told["shape"] == [1, 8, 8]
    assert told["low_share"] > 2 * told["white_low_share"]  # digits are smooth, and so is their noise
    again = command.runs(*PREVIEW, "./seen/noise", "--json").json
    assert (again["noise"], again["shape"]) == (told["noise"], told["shape"])
    assert again["radial_spectrum"] == told["radial_spectrum"]
    assert str(ForwardNoise.load(folder / "seen" / "noise")) == told["noise"]


@pytest.mark.usefixtures("quick")
def test_equal_snr_of_data_of_another_size_with_keys(command, folder, images):
    words = ("equal-snr:gamma=0.5,normalize=none", "--data", "images.npz", "--size", "9", "12", "--channels", "3")
    told = command.runs(*PREVIEW, *words, "--json").json
    assert told["shape"] == [3, 9, 12]
    assert told["noise"].endswith(":gamma=0.5,normalize=none")
    assert told["pixel_std"] < 1


@pytest.mark.usefixtures("quick")
def test_equal_snr_in_a_product_and_what_its_floor_holds(command, folder):
    out = command.runs(*PREVIEW, "equal-snr*pink", "--data", "digits", "--out", "seen").out
    assert "  equal-snr floor      no frequency is held at it\n" in out
    told = command.runs(*PREVIEW, "./seen/noise*blue", "--json").json
    assert told["floored_share"] == 0
    assert told["noise"].endswith("*pink*blue")
    out = command.runs(*PREVIEW, "equal-snr:eps=0.2", "--data", "digits", "--out", "held").out
    power = ForwardNoise.load("held/noise").weight.power
    share = (power < 0.2 * power.max()).double().mean()
    assert 0.1 < share < 0.9
    assert f"{share:.2%} of the frequencies are held at it, not at their S^gamma: a smaller eps lifts it" in out
    assert command.runs(*PREVIEW, "pink", "--json").json["floored_share"] is None
    command.refuses(*PREVIEW, "./seen", code=2, saying="load the noise in it, ./seen/noise")
    command.refuses(*PREVIEW, "seen/noise", code=2, saying="write ./seen/noise")


@pytest.mark.usefixtures("quick")
def test_the_range_of_data_is_told(command, folder):
    np.savez("floats.npz", train=np.random.default_rng(0).random((20, 1, 6, 6)).astype(np.float32) * 50)
    told = command.runs(*PREVIEW, "equal-snr", "--data", "floats.npz", "--range", "0", "50", "--json").json
    assert told["shape"] == [1, 6, 6]
    command.refuses(*PREVIEW, "equal-snr", "--data", "floats.npz", code=2, saying="--range")


@pytest.mark.usefixtures("quick")
def test_a_saved_noise_is_shown_on_its_own_shape(command, folder):
    operator = DiagonalOperator((2, 3, 5), torch.linspace(1, 2, 30))
    ForwardNoise(operator).save("basis")
    ForwardNoise(Custom(torch.ones(6, 4))).save("custom")
    assert command.runs(*PREVIEW, "./basis", "--json").json["shape"] == [2, 3, 5]
    assert not command.runs(*PREVIEW, f"{folder}/basis", "--json").json["stationary"]
    assert command.runs(*PREVIEW, "./custom", "--json").json["shape"] == [1, 6, 4]
    assert command.runs(*PREVIEW, "./custom", "--channels", "3", "--json").json["shape"] == [3, 6, 4]
    command.refuses(*PREVIEW, "./custom", "--size", "8", code=2, saying="was built for arrays of size (6, 4)")
    command.refuses(*PREVIEW, "./basis", "--channels", "1", code=2, saying="was built for arrays (N, 2, 3, 5)")


# refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["noise"], ("preview is missing", "scoregrain noise preview NOISE [options]")),
        (["noise", "preview"], "NOISE is missing: scoregrain noise preview NOISE"),
        (["noise", "prevew"], ("unknown command 'noise prevew'", "did you mean 'preview'?")),
        (["noise", "prevew", "white"], ("unknown command 'noise prevew'", "did you mean 'preview'?")),
        (["noise", "--size", "8", "--json", "prevew", "white"], "did you mean 'preview'?"),
        (["noise", "pink"], ("unknown command 'noise pink'", "expected scoregrain noise preview NOISE")),
        (["nois", "preview", "white"], ("unknown command 'nois'", "did you mean 'noise'?")),
        (["noise", "preview", "white", "pink"], "unexpected argument 'pink'"),
        (["noise", "preview", "white", "--siz", "3"], ("unknown option '--siz'", "did you mean '--size'?")),
        (["noise", "preview", "white", "--networks", "3"], "noise has no option --networks; these have: measure"),
        (["noise", "preview", "white", "--size"], "--size has no value, expected one to three numbers"),
        (["noise", "preview", "white", "--size", "a"], "--size is 'a', expected integers"),
        (["noise", "preview", "white", "--size", "8.5"], "--size is '8.5', expected integers"),
        (["noise", "preview", "white", "--size", "8x8"], "--size is '8x8', expected integers"),
        (["noise", "preview", "white", "--seed", "x"], "--seed is 'x', expected an integer"),
        (["noise", "preview", "white", "--samples", "1e3"], "--samples is '1e3', expected an integer"),
        (["noise", "preview", "white", "--range", "0"], "--range is '0', expected two numbers"),
    ],
)
def test_words_that_are_no_command(command, words, saying):
    assert len(command.refuses(*words, code=2, saying=saying)) < 200


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["white", "--size", "0"], ("--size is '0'", "at least 1")),
        (["white", "--size", "8", "-3"], "--size is '8 -3'"),
        (["white", "--size", "1", "2", "3", "4"], ("--size is '1 2 3 4'", "one to three")),
        (["white", "--size", "8", "8", "--dims", "1"], ("--size is '8 8', --dims is 1", "leave --dims out")),
        (["white", "--dims", "4"], "--dims is 4, expected 1, 2 or 3"),
        (["white", "--dims", "0"], "--dims is 0"),
        (["white", "--channels", "0"], "--channels is 0, expected at least 1"),
        (["white", "--samples", "0"], "samples is 0, expected at least 16"),
        (["white", "--size", "1000000000000"], "at most 4194304 numbers"),
        (["white", "--size", "300", "--dims", "3"], ("at most 4194304 numbers", "1×300×300×300")),
        (["white", "--channels", "99999"], "at most 4194304 numbers"),
        (["powr-law:alpha=1"], ("unknown noise 'powr-law'", "did you mean 'power-law'?")),
        (["power-law:alpa=1"], ("power-law has no key 'alpa'", "did you mean 'alpha'?")),
        (["power-law:alpha=steep"], "alpha of power-law must be a number, got 'steep'"),
        (["power-law:alpha=-0.06,dc=flor"], ("unknown dc 'flor'", "did you mean 'floor'?")),
        (["power-law"], "power-law needs alpha"),
        ([""], "the noise is empty"),
        (["power-law:alpha=-9"], "has condition number"),
        (["power-law:alpha=1030"], "overflow or underflow"),
        (["band-pass:low=1e12,high=2e12"], "is zero at every frequency"),
        (["band-pass:low=0.5,high=0.2"], "0 <= low < high"),
        (["band-pass:low=0.9,high=0.901"], "is zero at every frequency"),
        (["./nothing"], "is not a saved noise"),
        (["exponential:beta=100"], ("has condition number", "use a smaller |alpha| or beta")),
        (["/nothing"], "is not a saved noise"),
        (["custom@0123456789ab"], "load it from its folder"),
        (["equal-snr"], "equal-snr is fitted to data: add --data DATA, such as --data digits"),
        (["white", "--range", "0", "1"], ("--range", "--data", "give both or none")),
        (["pink*equal-snr"], "equal-snr is fitted to data: add --data DATA, such as --data digits"),
        (["white", "--data", "digits"], "--data is what one equal-snr in NOISE is fitted to, 'white' has not one"),
        (["equal-snr*equal-snr", "--data", "digits"], "'equal-snr*equal-snr' has not one"),
        (["equal-snr", "--data", "digts"], ("no data named 'digts'", "did you mean 'digits'?")),
        (["equal-snr:gama=1", "--data", "digits"], ("no key 'gama'", "did you mean 'gamma'?")),
        (["equal-snr", "--data", "digits", "--dims", "1"], "images have two dimensions"),
        (["equal-snr", "--data", "digits", "--range", "0", "1"], "the range of the embedded digits"),
    ],
)
def test_what_has_no_preview(command, words, saying):
    command.refuses(*PREVIEW, *words, code=2, saying=saying)


def test_existing_folders_are_replaced_only_where_they_are_ours(command, folder, quick):
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter.txt").write_text("precious")
    command.refuses(*PREVIEW, "white", "--out", "thesis", code=2, saying=("'thesis' exists", "--overwrite"))
    command.refuses(*PREVIEW, "white", "--out", "thesis", "--overwrite", code=2, saying="not a folder that scoregrain")
    command.runs(*PREVIEW, "white", "--out", "seen")
    command.refuses(*PREVIEW, "pink", "--out", "seen", code=2, saying="'seen' exists")
    command.runs(*PREVIEW, "pink", "--out", "seen", "--overwrite")
    assert json.loads((folder / "seen" / "config.json").read_text())["noise"] == "pink"


def test_what_cannot_be_written_leaves_nothing(command, folder):
    (folder / "file").write_text("precious")
    command.refuses(*PREVIEW, "white", "--out", "file/x", code=1, saying="cannot write 'file/x'")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # the numbers fit, the picture does not
    try:
        command.refuses(*PREVIEW, "white", "--out", "full", code=1, saying="cannot write 'full': File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_interrupted_it_says_so_and_leaves_nothing(command, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("scoregrain.cli.noise.preview_noise", interrupt)
    command.refuses(*PREVIEW, "white", code=130, saying="interrupted; nothing was written")


def test_help_names_every_option(command):
    text = command.runs("noise", "--help").out
    for word in ("size", "dims", "channels", "samples", "seed", "data", "range", "out", "overwrite", "json"):
        assert f"--{word}" in text
    assert "preview NOISE" in text
    assert "--command" not in text
