"""`outpost setup` and `outpost restore` as a person types them, and the process that starts from what they made."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloudsync.cli import app
from cloudsync.fresh import settings_text
from edge.config import Layout, load, parse

RUN = CliRunner()


def setup(tmp_path: Path, *options: str, kit: str = "kit") -> tuple[int, str, str]:
    done = RUN.invoke(app, ["setup", "--state", str(tmp_path / "state"), "--kit-out", str(tmp_path / kit), *options])
    return done.exit_code, done.stdout, done.stderr


def folder(tmp_path: Path) -> tuple[str, str]:
    return "--archive-folder", str(tmp_path / "archive")


def test_set_up_makes_a_site_and_shows_the_passphrase_once(tmp_path: Path) -> None:
    name = 'Clinic "Süd" \\ 2'
    code, out, _ = setup(tmp_path, *folder(tmp_path), "--name", name, "--ae-title", "CLINIC", "--port", "0", "--web-port", "0")
    assert code == 0, out
    layout = Layout(tmp_path / "state")
    config = load(layout.config)
    assert (config.site.name, config.site.ae_title, config.site.stat_ae_title) == (name, "CLINIC", "CLINIC_STAT")
    assert (config.dicom.port, config.web.port, config.archive.path) == (0, 0, str(tmp_path / "archive"))
    assert len(re.findall(r"^    \w+( \w+){7}$", out, re.MULTILINE)) == 1
    modes = {path.name: path.stat().st_mode & 0o777 for path in (layout.edge, layout.cloudsync, layout.keys, layout.ledger)}
    assert modes == {"edge": 0o750, "cloudsync": 0o750, "keys": 0o700, "ledger.db": 0o600}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in layout.keys.iterdir())
    assert not (layout.state / "unfinished").exists()


def test_what_is_wrong_is_named_with_its_key_and_nothing_is_left_behind(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    for text, key in (
        ("[archive]\nkind = 'folder'\n", "archive.path"),
        ("[archive]\nkind = 'azure_blob'\n", "archive.credential_file"),
        ("[archive]\nkind = 'tape'\n", "archive.kind"),
        ("[archiv]\n", "archiv"),
        ("[dicom]\nport = 'x'\n", "dicom.port"),
    ):
        wrong.write_text(text)
        code, _, err = setup(tmp_path, "--config", str(wrong))
        assert code == 78
        assert err.startswith(f"Error: {key}")
        assert not (tmp_path / "state").exists()
        assert "outpost.toml" not in err
    assert str(wrong) in setup(tmp_path, "--config", str(wrong))[2]
    assert "--archive-folder" in setup(tmp_path)[2]
    assert "--credential-file" in setup(tmp_path, *folder(tmp_path), "--azure-container", "c")[2]
    assert "--config" in setup(tmp_path, "--config", str(wrong), *folder(tmp_path))[2]


@pytest.mark.parametrize(
    ("options", "kit", "says"),
    [
        (
            ("--archive-folder", "PLACE/file"),
            "kit",
            "archive.path (--archive-folder): PLACE/file cannot be made, because PLACE/file is a file",
        ),
        (("--archive-folder", "PLACE/file/archive"), "kit", "archive.path (--archive-folder): PLACE/file/archive cannot be made"),
        (("--archive-folder", "/proc/archive"), "kit", "archive.path (--archive-folder): "),
        (("--archive-folder", "PLACE/archive"), "file", "--kit-out: PLACE/file cannot be made, because PLACE/file is a file"),
        (("--archive-folder", "PLACE/archive"), "state/kit", "--kit-out: PLACE/state/kit lies inside the state directory"),
        (("--archive-folder", "PLACE/archive"), "archive/kit", "--kit-out: PLACE/archive/kit lies inside the archive"),
        (("--archive-folder", "PLACE/archive", "--ae-title", "A" * 17), "kit", "site.ae_title: "),
        (("--archive-folder", "PLACE/archive", "--port", "70000"), "kit", "dicom.port: 70000 is no port"),
    ],
)
def test_a_place_or_setting_that_will_not_do_is_named_before_anything_is_made(
    tmp_path: Path, options: tuple[str, ...], kit: str, says: str
) -> None:
    (tmp_path / "file").touch()
    code, out, err = setup(tmp_path, *(option.replace("PLACE", str(tmp_path)) for option in options), kit=kit)
    assert (code, out) == (78, "")
    assert err.startswith("Error: " + says.replace("PLACE", str(tmp_path)))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file"]


def test_it_never_touches_a_state_directory_in_use_nor_a_kit(tmp_path: Path) -> None:
    assert setup(tmp_path, *folder(tmp_path))[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, out, err = setup(tmp_path, *folder(tmp_path), kit="another")
    assert (code, "not empty" in err, "Making keys" in out) == (77, True, False)
    (tmp_path / "other").mkdir()
    code, out, err = setup(tmp_path / "other", *folder(tmp_path), kit="../kit")
    assert (code, "holds a recovery kit already" in err, "Making keys" in out) == (78, True, False)
    (tmp_path / "other").rmdir()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_attempt_that_was_broken_off_is_begun_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "state")
    layout.keys.mkdir(parents=True)
    (layout.keys / "kek-000001").write_text("of the broken attempt")
    (layout.state / "unfinished").touch()
    assert setup(tmp_path, *folder(tmp_path))[0] == 0
    assert (layout.keys / "kek-000001").read_text() != "of the broken attempt"


@pytest.mark.parametrize("trace", ["outpost.toml", "cloudsync/lock"])
def test_a_mark_that_outlived_its_time_wipes_nothing(tmp_path: Path, trace: str) -> None:
    layout = Layout(tmp_path / "state")
    layout.keys.mkdir(parents=True)
    (layout.keys / "kek-000001").write_text("of a site that runs")
    (layout.state / trace).touch()
    (layout.state / "unfinished").touch()
    assert setup(tmp_path, *folder(tmp_path))[0] == 77
    assert (layout.keys / "kek-000001").read_text() == "of a site that runs"


def test_directories_and_empty_files_that_the_system_made_are_no_content(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "state")
    layout.sealed.mkdir(parents=True, mode=0o711)
    layout.ledger.touch()
    assert setup(tmp_path, *folder(tmp_path))[0] == 0
    assert layout.sealed.stat().st_mode & 0o777 == 0o711


def test_restore_needs_the_kit_and_its_words(tmp_path: Path) -> None:
    _, out, _ = setup(tmp_path, *folder(tmp_path))
    words = re.search(r"^    (\w+(?: \w+){7})$", out, re.MULTILINE)
    assert words is not None
    passphrase = tmp_path / "words"
    options = ["restore", "--state", str(tmp_path / "other"), "--kit", str(tmp_path / "kit"), "--passphrase-file", str(passphrase)]
    passphrase.write_text("wrong " + words[1])
    assert RUN.invoke(app, options).exit_code == 77
    passphrase.write_text(words[1].upper() + "\n")
    done = RUN.invoke(app, options)
    assert (done.exit_code, "no catalog of this site" in done.stderr) == (1, True)
    assert not (tmp_path / "other" / "outpost.toml").exists()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "cloudsync", "--state", str(tmp_path / "state")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        catalog = tmp_path / "archive"
        while not list(catalog.glob("*/c/0/*")):
            assert process.poll() is None
        second = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (second.returncode, "Another Outpost runs" in second.stderr) == (3, True)
        process.terminate()
        assert process.wait(10) == 0
    done = RUN.invoke(app, options)
    assert done.exit_code == 0, done.stderr
    assert "is rebuilt in" in done.stdout
    assert load(Layout(tmp_path / "other").config).archive.path == str(catalog)
    done = RUN.invoke(app, [option.replace("other", "another") for option in options] + ["--json"])
    assert json.loads(done.stdout) | {"newest_at": None} == {
        "site_id": next(catalog.glob("*/c")).parent.name, "holdings": 0, "sequence": 1, "newest_at": None, "site_state": False, "left": 0
    }  # fmt: skip


def test_restore_looks_at_the_kit_before_it_asks_and_asks_nobody_without_a_terminal(tmp_path: Path) -> None:
    setup(tmp_path, *folder(tmp_path))
    options = ["restore", "--state", str(tmp_path / "other"), "--kit"]
    done = RUN.invoke(app, [*options, str(tmp_path / "no kit")])
    assert (done.exit_code, f"there is no {tmp_path}/no kit" in done.stderr) == (1, True)
    done = RUN.invoke(app, [*options, str(tmp_path / "kit")])
    assert (done.exit_code, "Use --passphrase-file." in done.stderr) == (78, True)
    (tmp_path / "kit/recovery.pem").unlink()
    done = RUN.invoke(app, [*options, str(tmp_path / "kit")])
    assert (done.exit_code, "recovery.pem cannot be read" in done.stderr) == (1, True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("moment", ["at the prompt", "while it waits for an archive"])
def test_control_c_ends_restore_with_one_sentence(tmp_path: Path, moment: str) -> None:
    site = json.loads(setup(tmp_path, *folder(tmp_path), "--json")[1])
    (tmp_path / "elsewhere").mkdir()
    # as on a terminal, also where the tests themselves were started in the background and so ignore it
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from cloudsync.cli import app; app()"
    options = ["--state", str(tmp_path / "other"), "--kit", site["kit"], "--archive-folder", str(tmp_path / "elsewhere")]
    keyboard, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script, "restore", *options], stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}, start_new_session=True,
    ) as restore:  # fmt: skip
        assert restore.stdout is not None
        said = restore.stdout.read(len("The eight words of the kit: "))  # its last space comes once typing is hidden
        if moment != "at the prompt":
            os.write(keyboard, site["passphrase"].encode() + b"\n")
            while "Is that the right place?" not in said:
                said += restore.stdout.read(1)
        restore.send_signal(signal.SIGINT)
        said += restore.stdout.read()
    os.close(keyboard)
    os.close(terminal)
    assert restore.returncode == 130
    assert said.splitlines()[-1] == "Ended before it was finished. Nothing is lost: run the command again."
    assert "Traceback" not in said


def test_a_process_without_a_set_up_state_says_what_to_do(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-m", "cloudsync", "--state", str(tmp_path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 78
    assert "Run `outpost setup` first" in done.stderr


@pytest.mark.parametrize("value", ["plain", 'with "quotes"', "back\\slash", "tab\tand\nline", "Ünïcode 北京", ""])
def test_settings_are_written_as_they_are_read(value: str) -> None:
    assert parse(settings_text({"site": {"name": value}, "dicom": {}, "archive": {"kind": "folder"}})).site.name == value
