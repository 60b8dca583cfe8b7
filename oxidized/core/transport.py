"""Which way data goes: straight over UDP, or inside the QUIC connection (PROTOCOL.md section 6).

Only the edge chooses; the hub follows what it receives. Pure decisions: `step()` is called when
`next_ns` has come and says what to do. Two modes:

- udp: when a session starts or the peer goes silent, a *watch* begins: PINGs over UDP and over the
  control connection. A PONG ends it: UDP works both ways (a packet that merely came in would prove
  one). If three seconds pass without one while the control connection answers, UDP is proved blocked:
  over to quic.
- quic: every 30 s one probe over UDP. Two answers in a row: back to udp, with a new watch.

After a change of way a few more PINGs go the new way: an answer to a PING that was still under way on
the old one can be the newest packet the hub sees, and would lead it back there.
"""

from __future__ import annotations

from dataclasses import dataclass

from oxidized.core.settings import TransportPolicy

BLOCKED_AFTER_NS = 3_000_000_000
WATCH_INTERVAL_NS = 250_000_000  # twelve PINGs: at 30 % loss each way not one watch in a thousand fails
WATCH_LATER_NS = 1_000_000_000  # when the network as a whole seems dead there is no hurry
PROBE_INTERVAL_NS = 30_000_000_000
PROBES_ANSWERED = 2
SETTLE_PINGS = 2
SETTLE_INTERVAL_NS = 1_000_000_000
PINGS_AFTER_PROOF_MIN = 3  # over UDP, after the control connection answered: a network that just came
# back may answer on the one first

REASON_FIRST = "udp first"
REASON_FORCED = "configured"
REASON_BLOCKED = "udp blocked"
REASON_RETURN = "udp answers again"


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now. `ping`: on the path as it is; `switched`: the mode has changed, move the path."""

    ping: bool = False
    ping_control: bool = False
    probe_udp: bool = False
    switched: bool = False


NOTHING = Step()


class Transport:
    """The choice for one peer. `mode` is udp or quic."""

    def __init__(self, policy: TransportPolicy) -> None:
        self._watch_since_ns: int | None = None
        self._pings_after_proof = 0
        self._is_control_proved = False
        self._answers = 0
        self._is_probe_out = False
        self._settle = 0
        self._set(policy)
        self.next_ns: int | None = None

    def _set(self, policy: TransportPolicy) -> None:
        self.policy = policy
        self.mode = "quic" if policy == "quic" else "udp"
        self.reason = REASON_FIRST if policy == "auto" else REASON_FORCED

    def change_policy(self, policy: TransportPolicy, now_ns: int) -> bool:
        """The operator changed his mind; True: the mode is another one now."""
        before = self.mode
        if policy == "auto":
            self.policy, self.reason = policy, REASON_FIRST if before == "udp" else REASON_FORCED
        else:
            self._set(policy)
        self.session_started(now_ns)
        return self.mode != before

    def session_started(self, now_ns: int) -> None:
        """New keys: the mode stays (the network is the same), and is put to the test."""
        self._begin(now_ns)

    def silent(self, now_ns: int) -> None:
        """Nothing is opened any more; find out whether it is UDP alone."""
        if self.mode == "udp" and self._watch_since_ns is None:
            self._begin(now_ns)

    def stop(self) -> None:
        """There is no session to test."""
        self._watch_since_ns = None
        self._settle = 0
        self.next_ns = None

    def control_answered(self) -> None:
        """The control connection answered a QUIC PING."""
        self._is_control_proved = True

    def udp_answered(self, now_ns: int) -> None:
        """A PING of ours came back over UDP."""
        if self._watch_since_ns is not None:
            self._watch_since_ns = None
            self._settle_from(now_ns)

    def probe_answered(self) -> None:
        """A probe came back over UDP."""
        if self._is_probe_out:
            self._is_probe_out = False
            self._answers += 1

    def step(self, now_ns: int) -> Step:
        """What is due."""
        if self.next_ns is None or now_ns < self.next_ns:
            return NOTHING
        if self._settle:
            self._settle -= 1
            self._after_settle(now_ns)
            return Step(ping=True)
        return self._watch(now_ns) if self.mode == "udp" else self._probe(now_ns)

    def _begin(self, now_ns: int) -> None:
        self._settle = 0
        if self.mode == "udp":
            self._watch_since_ns = now_ns
            self._pings_after_proof = 0
            self._is_control_proved = False
            self.next_ns = now_ns
        else:
            self._watch_since_ns = None
            self._answers = 0
            self._is_probe_out = False
            self._settle_from(now_ns)

    def _settle_from(self, now_ns: int) -> None:
        self._settle = SETTLE_PINGS
        self.next_ns = now_ns + SETTLE_INTERVAL_NS

    def _after_settle(self, now_ns: int) -> None:
        if self._settle:
            self.next_ns = now_ns + SETTLE_INTERVAL_NS
        elif self.mode == "quic" and self.policy == "auto":
            self.next_ns = now_ns + PROBE_INTERVAL_NS
        else:
            self.next_ns = None

    def _watch(self, now_ns: int) -> Step:
        assert self._watch_since_ns is not None
        is_late = now_ns - self._watch_since_ns >= BLOCKED_AFTER_NS
        is_proved = self._is_control_proved and self._pings_after_proof >= PINGS_AFTER_PROOF_MIN
        if is_late and is_proved and self.policy == "auto":
            return self._switch("quic", REASON_BLOCKED, now_ns)
        self._pings_after_proof += self._is_control_proved
        self.next_ns = now_ns + (WATCH_LATER_NS if is_late else WATCH_INTERVAL_NS)
        return Step(ping=True, ping_control=self.policy == "auto")

    def _probe(self, now_ns: int) -> Step:
        if self._is_probe_out:
            self._answers = 0
        if self._answers >= PROBES_ANSWERED:
            return self._switch("udp", REASON_RETURN, now_ns)
        self._is_probe_out = True
        self.next_ns = now_ns + PROBE_INTERVAL_NS
        return Step(probe_udp=True)

    def _switch(self, mode: str, reason: str, now_ns: int) -> Step:
        self.mode, self.reason = mode, reason
        self._begin(now_ns)
        return Step(switched=True)
