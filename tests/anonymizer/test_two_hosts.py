"""Pitfalls 8 and 20: machines of other places, languages and clocks show the same, to the byte but for what is random."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from anonymizer import tls
from anonymizer.mimes import ANY, ending_of, mime_of
from anonymizer.tls import make_certificate
from gnutella.testing.relay_nodes import signing_key

ROOT = Path(__file__).resolve().parents[2]
#: As unlike as one machine can be made: zone, language, encoding, user, home, order of sets, types of files.
HOSTS = [
    {"TZ": "Pacific/Auckland", "LANG": "tr_TR.UTF-8", "LC_ALL": "C", "PYTHONHASHSEED": "1", "USER": "ayla"},
    {"TZ": "America/St_Johns", "LANG": "C.UTF-8", "PYTHONUTF8": "1", "PYTHONHASHSEED": "77", "USER": "bob"},
]


def shown(tmp_path: Path) -> list[dict[str, Any]]:
    """What each host shows; both run at the same time."""
    running = []
    for number, host in enumerate(HOSTS):
        home = tmp_path / str(number)
        home.mkdir()
        (home / ".mime.types").write_text(f"application/x-host-{number} txt md\n")
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(home), "HOSTNAME": f"h{number}"}
        command = [sys.executable, "-m", "tests.anonymizer.what_shows"]
        running.append(subprocess.Popen(command, cwd=home, env={**environ, **host}, stdout=subprocess.PIPE))
    said = [process.communicate(timeout=60)[0] for process in running]
    return [json.loads(text) for text in said]


def differences(one: Any, two: Any, path: str = "") -> list[str]:
    """Where two answers are not alike."""
    if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        return [found for key in one for found in differences(one[key], two[key], f"{path}/{key}")]
    return [] if one == two else [path]


def test_two_hosts_show_the_same(tmp_path: Path) -> None:
    one, two = shown(tmp_path)
    assert differences(one, two) == []
    assert one["link"]["alpn"] == ["arl/1"] and len(one["link"]["hello"]["extensions"]) > 5
    # Both sides of a link say as much, whoever dialled: from the first cell on, records of one length.
    lengths = one["link"]["records"]
    assert lengths["client"][5] == lengths["server"][5] != []
    assert differences({"x": {"y": 1, "z": 2}}, {"x": {"y": 1, "z": 3}}) == ["/x/z"]


def test_all_certificates_have_one_length() -> None:
    """Their length shows, though they are encrypted."""
    key = signing_key(1)
    made = [make_certificate(key) for _ in range(1_000)]
    assert {len(one.public_bytes(Encoding.DER)) for one in made} == {tls.MAX_CERTIFICATE}
    assert len({one.serial_number for one in made}) == 1_000


def test_a_shorter_certificate_is_taken_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x509, "random_serial_number", lambda: 5)
    made = make_certificate(signing_key(1)).public_bytes(Encoding.DER)
    assert len(tls.node_id_in(made)) == 32


def test_types_are_of_one_table_and_lead_back() -> None:
    assert mime_of("a.TXT") == "text/plain" and mime_of("a.b.opus") == "audio/ogg"
    assert mime_of("txt") == mime_of("a.unheardof") == mime_of("") == mime_of("a.") == ANY
    assert ending_of("text/plain") == ".txt" and ending_of(ANY) == "" and ending_of("../x") == ""
