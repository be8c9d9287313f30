"""The two pages, in a headless browser; they want gradio, playwright and chromium."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTENT = r"^const content = (.*);$"  # of the report, as JSON
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engines:
        chromium = engines.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A tab; an error of its scripts fails the test."""
    tab, errors = browser.new_page(), []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    yield tab
    tab.close()
    assert errors == []


@pytest.fixture(scope="module")
def demo(tiny, checkout):
    """Address of the demo, of the pack of stage 9."""
    pytest.importorskip("gradio", reason="pip install gradio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pack = str(tiny.exp / "pack.zip")
    server = subprocess.Popen(
        [sys.executable, "-m", "spft.bin.demo", "--model", pack, "--port", str(port)],
        cwd=checkout.folder, env=os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"},
    )  # fmt: skip
    for _ in range(240):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert server.poll() is None, "the demo ended"
        time.sleep(0.5)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait()


def upload(page, audio):
    """Choose ``audio`` until the page shows it: gradio lost it once, on a busy CPU."""
    shown = page.get_by_text(audio.name).first
    for _ in range(5):
        with contextlib.suppress(playwright.TimeoutError):
            page.locator("input[type=file]").first.set_input_files(audio, timeout=1000)
            shown.wait_for(timeout=15_000)
            return
    raise AssertionError(f"{audio.name} is not on the page")


def test_demo_compares_domains(page, demo):
    audio = next((ROOT / "egs2/music/asr1/downloads/audio").glob("*music-test*"))
    page.goto(demo)
    page.get_by_role("button", name="Transcribe").click()
    page.get_by_text("Record something or drop an audio file first.").wait_for()
    upload(page, audio)
    page.get_by_label("Names that may be said").fill("The Weeknd\nMotorhead")
    page.get_by_role("button", name="Transcribe").click()
    rows = page.locator("table tr", has=page.locator("th"))
    page.locator("th", has_text="music").wait_for(timeout=60_000)
    assert [row.locator("th").first.inner_text() for row in rows.all()] == [
        "domain", "base", "music", "chatbot",
    ]  # fmt: skip
    page.get_by_label("chatbot").uncheck()
    page.get_by_role("button", name="Transcribe").click()
    page.locator("th", has_text="chatbot").wait_for(state="detached", timeout=60_000)


def test_report_works_offline(page, tiny):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    report = tiny.exp / "report/index.html"
    (content,) = re.findall(CONTENT, report.read_text(encoding="utf-8"), re.M)
    page.goto(report.as_uri())
    assert [url for url in requests if url.startswith("http")] == []
    for domain in ("music", "chatbot"):
        page.get_by_role("button", name=domain).click()
        page.get_by_role("heading", name="Diagnosis").wait_for()
        utterances = page.locator(".utt")
        assert utterances.count() > 0
        audio = utterances.first.locator("audio")
        seconds = audio.evaluate(
            "a => new Promise(done => { a.onloadedmetadata = () => done(a.duration);"
            " a.onerror = () => done(0); a.load(); })"
        )
        assert seconds > 0.5
        page.locator("select", has_text="broken by adaptation").select_option(
            "broken by adaptation"
        )
        systems = {s["key"]: s for s in json.loads(content)[domain]["systems"]}
        before, after = (
            systems[page.locator(".controls select").nth(i).input_value()]["utterances"]
            for i in (0, 1)
        )
        broken = [u for u in before if before[u]["errors"] < after[u]["errors"]]
        assert page.locator(".utt .id").all_inner_texts() == broken
        note = page.locator(".controls .note").inner_text()
        assert note == f"{len(broken)} of {len(before)}"
        page.get_by_placeholder("find words").fill("no such word anywhere")
        assert utterances.count() == 0
