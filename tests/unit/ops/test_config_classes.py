"""`traffic.classes`: words to rules, and what is said of wrong ones."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxidized import config
from oxidized.config_classes import DSCPS, classed
from oxidized.core.flows import TRAFFIC_CLASSES, ClassRule
from oxidized.errors import ConfigError
from tests.unit.ops.samples import EDGE, write


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("udp/3074=gaming", ClassRule(1, protocol=17, port=3074)),
        ("tcp/443=web", ClassRule(2, protocol=6, port=443)),
        ("tcp=bulk", ClassRule(4, protocol=6)),
        ("dscp/ef=voip", ClassRule(0, dscp=46)),
        ("dscp/0=control", ClassRule(5, dscp=0)),
        ("10.0.7.0/24=bulk", ClassRule(4, network=ip_network("10.0.7.0/24"))),
        ("fd00::/8=streaming", ClassRule(3, network=ip_network("fd00::/8"))),
    ],
)
def test_words_become_rules(text: str, rule: ClassRule) -> None:
    assert classed(text).rule == rule
    assert str(classed(text)) == text


@pytest.mark.parametrize(
    ("element", "said"),
    [
        ("udp/3074", "needs a class behind its ="),
        ("udp/3074=games", "there are voip, gaming, web, streaming, bulk, control"),
        ("udp/0=web", "has a port outside 1..65535"),
        ("udp/70000=web", "has a port outside 1..65535"),
        ("dscp/64=web", "has no DSCP of 0..63"),
        ("dscp/af44=web", "has no DSCP of 0..63"),
        ("10.0.7.1/24=web", 'did you mean "10.0.7.0/24"?'),
        ("10.0.7.1=web", "names neither"),
        ("sctp/7=web", "names neither"),
        ("tcp/443=web", "never applies"),
    ],
)
def test_mistakes_name_file_line_and_key(tmp_path: Path, element: str, said: str) -> None:
    path = write(tmp_path, EDGE + f'\n[traffic]\nclasses = [\n"tcp/443=bulk",\n"{element}",\n]\n')
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    line = Path(path).read_text().splitlines().index(f'"{element}",') + 1
    assert f":{line}: traffic.classes" in str(caught.value)
    assert said in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_a_mistake(text: str) -> None:
    try:
        rule = classed(text).rule
    except ValueError:
        return
    assert rule.traffic_class < len(TRAFFIC_CLASSES)


def test_names_of_marks() -> None:
    assert len(DSCPS) == 4 + 8 + 12
    assert all(0 <= value <= 63 for value in DSCPS.values())
