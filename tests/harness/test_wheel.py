"""A project outside the tree, in an environment of its own that has the wheel and no source of ours."""

from __future__ import annotations

import site
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]

SENDING = """
    import smtplib
    from email.message import EmailMessage

    def send(address, subject="hello", to="bob@example.com", text="hi"):
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "a@example.org", to, subject
        message.set_content(text)
        with smtplib.SMTP(*address) as client:
            client.send_message(message)
"""
TESTS = {
    "test_sync.py": """
        import imaplib, poplib
        import pytest
        from sending import send

        def test_mailjam(mailjam, mailjam_user, mailjam_group, mailjam_message):
            user = mailjam_user("alice", "secret")
            group = mailjam_group("misc.test")
            mailjam.put(mailjam_message("article", "text"), group)
            send(mailjam.smtp, "your code", to=user.address, text="code: 493817")
            assert mailjam.wait(to="alice", subject="code").otp() == "493817"
            with imaplib.IMAP4(*mailjam.imap) as client:
                client.login(user.name, user.password)
                assert client.select()[1] == [b"1"]

        @pytest.mark.parametrize("turn", range(4))
        def test_nothing_is_left(mailjam, turn):
            assert mailjam.messages == [] and mailjam.server.directory.users == ()
            mailjam.user("alice")
            send(mailjam.smtp)
            assert len(mailjam.messages) == 1

        def test_server(mailjam_server):
            send(mailjam_server.smtp)

        def test_smtpd(smtpd):
            send((smtpd.hostname, smtpd.port))
            assert smtpd.messages[0]["X-MailFrom"] == "a@example.org"

        def test_smtpserver(smtpserver):
            send(smtpserver.addr)
            assert smtpserver.outbox[0].details.rcpttos == ["bob@example.com"]

        def test_jam_and_after_it(mailjam):
            other = mailjam.tenant()
            mailjam.allow("sections", "tasks")
            mailjam.run(mailjam.workbench.jamming.jam())
            assert mailjam.jam()["jammed"] and not other.jam()["jammed"]
            send(other.smtp)
            assert other.wait().subject == "hello"
    """,
    "test_asyncio.py": """
        import asyncio
        from sending import send

        async def test_wait_for(mailjam):
            waiting = asyncio.ensure_future(mailjam.wait_for(subject="later"))
            await asyncio.to_thread(send, mailjam.smtp, "later")
            assert (await waiting).subject == "later"
    """,
    "test_anyio.py": """
        import anyio, anyio.to_thread
        import pytest
        from sending import send

        pytestmark = pytest.mark.anyio

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return request.param

        async def test_wait_for(mailjam, mailjam_user):
            user = mailjam_user()
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, send, mailjam.smtp, "x", user.address)
                assert (await mailjam.wait_for(to=user.address)).subject == "x"

        async def test_gate_and_patience(mailjam):
            held = mailjam.hold("inbound.imail.held", actor="inbound", count=1)
            await anyio.to_thread.run_sync(send, mailjam.smtp)
            assert (await held.held()).startswith("inbound-")
            with anyio.move_on_after(0.05):
                await mailjam.wait_for(timeout=60)
            held.release()
            assert (await mailjam.wait_for()).subject == "hello"
    """,
}
HIDING = {
    **{f"{name}/__init__.py": "VALUE = 1\n" for name in ("harness", "emulator", "protocols")},
    "test_it.py": """
        import emulator, harness, protocols
        from sending import send

        def test_own_packages():
            assert harness.VALUE == emulator.VALUE == protocols.VALUE == 1

        def test_process(mailjam_process):
            mailjam_process.user("alice", "secret")
            send(mailjam_process.addresses["smtp"], "one")
            assert mailjam_process.wait("subject:one")["Subject"] == "one"
            mailjam_process.request("POST", "/api/jam")

        def test_process_is_fresh_again(mailjam_process):
            assert mailjam_process.messages == []
            assert mailjam_process.request("GET", "/api/users") == []
            assert not mailjam_process.request("GET", "/api/state")["jammed"]
            send(mailjam_process.addresses["smtp"], "two")
            assert mailjam_process.wait()["Subject"] == "two"

        def test_hidden(mailjam):
            pass
    """,
}


PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:hypothesispytest")
"""Plugins that we do not need here cost seconds to import."""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], cwd=cwd, check=False, capture_output=True, text=True)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in {"sending.py": SENDING, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def interpreter(folder: Path) -> Path:
    """One that has mailjam's wheel; what mailjam needs it borrows from ours."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    wheels = list(folder.glob("mailjam-*.whl"))
    assert len(wheels) == 1, built.stderr
    environment = folder / "venv"
    assert run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=folder).returncode == 0
    made = environment / "bin" / "python"
    options = ("-q", "--no-compile", "--no-deps", "--no-index")
    done = run(*pip, "--python", made, "install", *options, wheels[0], cwd=folder)
    assert done.returncode == 0, done.stderr
    (packages,) = environment.glob("lib/python*/site-packages")
    # Only the folder is added: what an editable installation of ours says there is not read.
    (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()))
    where = run(made, "-c", "import harness; print(harness.__file__)", cwd=folder)
    assert str(environment) in where.stdout, where.stdout + where.stderr
    return made


def test_projects_with_the_wheel(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="pip install hatchling")
    for name in ("wheel", "fixtures", "hiding"):
        (tmp_path / name).mkdir()
    python = interpreter(tmp_path / "wheel")
    ini = (
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        "mailjam_fixtures = smtpd smtpserver\n"
    )
    write(tmp_path / "fixtures", {**TESTS, "pytest.ini": ini})
    done = run(python, *PYTEST, "-n", "2", cwd=tmp_path / "fixtures")
    assert "14 passed" in done.stdout, done.stdout + done.stderr
    write(tmp_path / "hiding", {**HIDING, "pytest.ini": "[pytest]\n"})  # folders of our names
    done = run(python, *PYTEST, cwd=tmp_path / "hiding")
    assert "3 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "hidden by this project's own" in done.stdout
