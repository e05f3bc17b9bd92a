"""Words that are no command line: each is answered by one line that says what was expected."""

import pytest

import scoregrain


def test_version(command):
    assert command.runs("--version").out == f"scoregrain {scoregrain.__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["measure", "--help"], ["analyze", "--help"], ["analyze", "-h"]])
def test_help(command, words):
    outcome = command.runs(*words)
    assert outcome.err == ""
    assert "scoregrain" in outcome.out
    assert "{None}" not in outcome.out


@pytest.mark.parametrize("name", ["measure", "analyze"])
def test_help_names_every_option(command, name):
    text = command.runs(name, "--help").out
    for option in (
        "networks",
        "tolerance",
        "seed",
        "device",
        "init",
        "shape",
        "prediction",
        "out",
        "overwrite",
        "json",
    ):
        assert f"--{option}" in text
    assert "MODEL" in text
    assert "--command" not in text


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        ([], ("no command given", "measure, analyze")),
        (["mesure", "unet-16"], ("unknown command 'mesure'", "did you mean 'measure'?")),
        (["unet-16"], ("unknown command 'unet-16'", "commands: measure, analyze")),
        (["--networks", "3"], "unknown command '--networks'"),
        (["measure"], ("MODEL is missing", "scoregrain measure MODEL [options]")),
        (["analyze"], ("MODEL is missing", "scoregrain analyze MODEL [DATA] [options]")),
        (["measure", "--networks", "32"], "MODEL is missing"),
        (["measure", "unet-16", "--networks", "a"], "--networks is 'a', expected an integer"),
        (["measure", "unet-16", "--networks=3.5"], "--networks is '3.5', expected an integer"),
        (["measure", "unet-16", "--networks", "1e3"], "--networks is '1e3', expected an integer"),
        (["measure", "unet-16", "--networks"], "--networks has no value, expected an integer"),
        (["measure", "unet-16", "--networks", "--json"], "--networks has no value, expected an integer"),
        (["measure", "unet-16", "--networks", "3", "--networks", "b"], "--networks is 'b'"),
        (["measure", "unet-16", "--seed", "x"], "--seed is 'x', expected an integer"),
        (["measure", "unet-16", "--tolerance", "2%"], "--tolerance is '2%', expected a number"),
        (["measure", "unet-16", "--shape", "1,6,6"], "--shape is '1,6,6', expected integers such as 1 16 16"),
        (["measure", "unet-16", "--out"], "--out has no value, expected a folder"),
        (["measure", "unet-16", "--device"], "--device has no value, expected a word"),
        (["analyze", "unet-16", "--range", "0"], "--range is '0', expected two numbers such as 0 1"),
        (["analyze", "unet-16", "--range", "0", "x"], "--range is '0 x', expected two numbers"),
        (["analyze", "unet-16", "--images", "all"], "--images is 'all', expected an integer"),
        (["measure", "unet-16", "--netwrks", "3"], ("unknown option '--netwrks'", "did you mean '--networks'?")),
        (["measure", "unet-16", "-n", "3"], "unknown option '-n'"),
        (["measure", "unet-16", "--images", "5"], "measure has no option --images; these have: analyze, align, rank"),
        (["measure", "unet-16", "digits"], ("unexpected argument 'digits'", "scoregrain measure MODEL [options]")),
        (["analyze", "unet-16", "digits", "more"], ("unexpected argument 'more'", "analyze MODEL [DATA]")),
        (["measure", "unet-16", "--json=yes"], "unexpected argument 'yes'"),
    ],
)
def test_what_cannot_be_parsed(command, words, saying):
    line = command.refuses(*words, code=2, saying=saying)
    assert "--help explains" in line
    assert len(line) < 200
    assert "---" not in line


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["--networks", "0"], "networks is 0, expected a positive number"),
        (["--networks", "-5"], "networks is -5, expected a positive number"),
        (["--networks=-5"], "networks is -5, expected a positive number"),
        (["--tolerance", "nan"], "tolerance is nan, expected a relative error between 0 and 1"),
        (["--tolerance", "-0.1"], "tolerance is -0.1"),
        (["--tolerance", "0"], "tolerance is 0.0"),
        (["--tolerance", "inf"], "tolerance is inf"),
        (["--device", "gpu"], "device 'gpu' cannot be used"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used"),
        (["--device", "meta"], "device 'meta' cannot be used"),
        (["--schedule", "cosin"], ("--schedule is 'cosin'", "did you mean 'cosine'?", "linear or cosine")),
        (["--device", ""], "device '' cannot be used"),
        (["--init", "unzero"], ("unknown init policy 'unzero'", "did you mean 'unzero-head'", "as-is")),
    ],
)
@pytest.mark.parametrize("name", ["measure", "analyze"])
def test_numbers_and_words_that_mean_nothing(command, name, words, saying):
    command.refuses(name, "dit-16/8", *words, code=2, saying=saying)


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["digits", "unet-16"], ("'unet-16' is a model", "scoregrain analyze unet-16 digits")),
        (["images.npz", "unet-32:c=1"], ("'unet-32:c=1' is a model", "analyze unet-32:c=1 images.npz")),
        (["images.npz", "tests.networks:Tiny", "--shape", "1", "6", "6"], ("'images.npz' is data", "MODEL DATA")),
        (["digits"], ("'digits' is data, not a model", "MODEL DATA")),
        ([".", "tests.networks:Tiny", "--shape", "1", "6", "6"], ("'.' is a folder, not a model", "MODEL DATA")),
        (["unet-16", "dit-16/8"], ("'dit-16/8' is a model, expected data", "scoregrain analyze unet-16 DATA")),
    ],
)
def test_swapped_arguments(command, images, words, saying):
    command.refuses("analyze", *words, code=2, saying=saying)


def test_data_is_no_model_to_measure(command, images):
    command.refuses("measure", "images.npz", code=2, saying="'images.npz' is data, not a model")


def test_an_unexpected_error_is_one_line_and_a_traceback_on_request(command, monkeypatch):
    """A bug of ours looks like this, too."""

    def fail(*arguments, **options):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("scoregrain.cli.measure.measure_geometry", fail)
    outcome = command("measure", "dit-16/8")
    assert (outcome.code, outcome.out) == (1, "")
    assert (
        outcome.err == "scoregrain: unexpected ZeroDivisionError: division by zero (SCOREGRAIN_DEBUG=1 shows where)\n"
    )
    assert command.files() == []
    monkeypatch.setenv("SCOREGRAIN_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        command("measure", "dit-16/8")
