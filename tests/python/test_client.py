"""A client in another language, knowing only the files under proto/.

Makes stubs from them, starts a server on free ports with a store of its own, and checks what the contract
promises. Prints `N passed, N failed`; the exit code is 0 only when nothing failed.

    python tests/python/test_client.py --server target/debug/colloquy
"""

import argparse
import contextlib
import json
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
import uuid

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
START_SECONDS = 60
STOP_SECONDS = 30
CALL_SECONDS = 10
TENANT = "acme"
FLOW = "faq-desk"
# What the desk offers to say to someone it does not understand.
FOLLOW_UPS = ["When do you open?", "How long does delivery take?", "Can I return it?"]


def make_stubs(folder):
    """Compiles the contract, and nothing else, into `folder`, and imports it from there."""
    files = sorted(str(path) for path in (PROTO / "colloquy").rglob("*.proto"))
    assert files, f"no .proto file under {PROTO}"
    made = protoc.main(["protoc", f"-I{PROTO}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files])
    assert made == 0, f"protoc ended with {made}"
    sys.path.insert(0, str(folder))


@contextlib.contextmanager
def running_server(program, folder):
    """A server on free ports; yields its gRPC address, and at the end wants it to stop well."""
    command = [program, "serve", "--json", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
    command += ["--data-dir", str(folder / "store")]
    with open(folder / "server.log", "w+b") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        try:
            yield listening(process)
            process.terminate()
            code = process.wait(STOP_SECONDS)
            assert code == 0, f"the server ended with code {code} after SIGTERM"
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()


def listening(process):
    """The address in the line that the server prints once it listens."""
    lines = queue.Queue()

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        line = lines.get(timeout=START_SECONDS)
        assert line is not None, "the server ended before it listened"
        with contextlib.suppress(json.JSONDecodeError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("event") == "listening":
                return event["grpc"]


class Client:
    """Calls with a deadline, and the errors of the rich model."""

    def __init__(self, address):
        from colloquy.v1 import common_pb2, conversation_pb2, conversation_pb2_grpc, flow_pb2, flow_pb2_grpc
        from colloquy.v1 import operator_pb2, operator_pb2_grpc

        self.common, self.messages, self.operator_messages = common_pb2, conversation_pb2, operator_pb2
        self.flow_messages = flow_pb2
        self.channel = grpc.insecure_channel(address)
        self.conversations = conversation_pb2_grpc.ConversationServiceStub(self.channel)
        self.operator = operator_pb2_grpc.OperatorServiceStub(self.channel)
        self.flows = flow_pb2_grpc.FlowServiceStub(self.channel)

    def key(self, conversation, tenant=TENANT):
        return self.common.ConversationKey(tenant=tenant, conversation=conversation)

    def turn(self, conversation, request_id, text, flow=FLOW, **more):
        return self.messages.SubmitTurnRequest(
            key=more.pop("key", None) or self.key(conversation),
            request_id=request_id,
            flow=flow,
            input=self.common.TurnInput(text=text),
            include_stages=True,
            **more,
        )

    def submit(self, request, metadata=()):
        return self.conversations.SubmitTurn(request, timeout=CALL_SECONDS, metadata=metadata)

    def say(self, conversation, request_id, text, **more):
        return self.submit(self.turn(conversation, request_id, text, **more))

    def structured(self, conversation, request_id, source, flow="order-desk"):
        request = self.turn(conversation, request_id, "", flow=flow)
        request.input.CopyFrom(self.common.TurnInput(json=source))
        return request

    def turns(self, conversation):
        request = self.messages.ListTurnsRequest(key=self.key(conversation))
        return list(self.conversations.ListTurns(request, timeout=CALL_SECONDS).turns)


class Refusal:
    """A refused call, decoded."""

    def __init__(self, error):
        self.code, self.message = error.code(), error.details()
        status = rpc_status.from_call(error)
        assert status is not None, f"{self.code} {self.message!r} has no details"
        self.info, self.fields, self.retry = None, [], None
        for detail in status.details:
            for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
                if detail.Is(kind.DESCRIPTOR):
                    message = kind()
                    detail.Unpack(message)
                    self.take(message)
        assert self.info is not None, f"{self.code} {self.message!r} has no ErrorInfo"
        same(self.info.domain, "colloquy.v1")

    def take(self, message):
        if isinstance(message, error_details_pb2.ErrorInfo):
            self.info = message
        elif isinstance(message, error_details_pb2.BadRequest):
            self.fields = [violation.field for violation in message.field_violations]
        else:
            self.retry = message


def same(got, expected):
    assert got == expected, f"got {got!r}, expected {expected!r}"


def refused(code, reason, call):
    """What `call` was refused with, which must be this."""
    try:
        answer = call()
    except grpc.RpcError as error:
        refusal = Refusal(error)
        same((refusal.code, refusal.info.reason), (code, reason))
        return refusal
    raise AssertionError(f"not refused, but answered: {answer}")


def invalid(field, call):
    """INVALID_ARGUMENT that names `field`, and only it."""
    refusal = refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", call)
    same(refusal.fields, [field])
    assert field in refusal.message, f"{refusal.message!r} does not name {field}"


def fresh():
    """The name of a conversation that is nobody else's."""
    return f"c-{uuid.uuid4().hex}"


def turns_are_counted_and_answered(client):
    name = fresh()
    first, second = client.say(name, "r-1", "hello").turn, client.say(name, "r-2", "what are your opening hours?").turn
    same((first.turn_seq, second.turn_seq), (1, 2))
    assert first.reply.text and second.reply.text, "a reply is empty"
    same((len(second.head.hash), second.head.turn_seq, second.request_id), (32, 2, "r-2"))
    assert first.turn_id != second.turn_id, "two turns have one id"
    got = client.conversations.GetConversation(
        client.messages.GetConversationRequest(key=client.key(name)), timeout=CALL_SECONDS
    ).conversation
    same((got.head, got.flow, got.intent, got.state), (second.head, FLOW, second.intent, second.state))


def a_repeated_request_id_gets_the_same_reply(client):
    name = fresh()
    first = client.say(name, "r-1", "hello")
    again = client.say(name, "r-1", "hello")
    same((first.replayed, again.replayed), (False, True))
    same(again.turn, first.turn)
    same(client.say(name, "r-2", "hello").turn.turn_seq, 2)


def a_request_id_with_another_text_is_refused(client):
    name = fresh()
    client.say(name, "r-1", "hello")
    already = grpc.StatusCode.ALREADY_EXISTS
    refused(already, "REQUEST_ID_REUSED", lambda: client.say(name, "r-1", "something else"))


def a_wrong_expected_seq_is_told_the_current_head(client):
    name = fresh()
    client.say(name, "r-1", "hello")
    head = client.say(name, "r-2", "hello", expected_seq=1).turn.head
    for expected in (0, 1, 3):
        refusal = refused(
            grpc.StatusCode.ABORTED,
            "SEQ_MISMATCH",
            lambda: client.say(name, f"r-at-{expected}", "hello", expected_seq=expected),
        )
        told = refusal.info.metadata
        same((told["turn_seq"], told["epoch"], told["hash"]), ("2", str(head.epoch), head.hash.hex()))
    same(client.say(name, "r-3", "hello", expected_seq=2).turn.turn_seq, 3)


def a_watch_resumes_from_a_seq_and_follows(client):
    name = fresh()
    said = [client.say(name, f"r-{number}", "hello").turn for number in range(1, 5)]
    request = client.messages.WatchConversationRequest(key=client.key(name), from_seq=3)
    watch = client.conversations.WatchConversation(request, timeout=CALL_SECONDS)
    seen = [next(watch), next(watch)]
    same([event.committed.turn for event in seen], said[2:])
    same([event.event_version for event in seen], [1, 1])
    later = client.say(name, "r-5", "hello").turn
    same(next(watch).committed.turn, later)
    watch.cancel()
    request = client.messages.WatchConversationRequest(key=client.key(name), after=said[3].head)
    resumed = client.conversations.WatchConversation(request, timeout=CALL_SECONDS)
    same(next(resumed).committed.turn, later)
    resumed.cancel()


def a_watch_takes_the_head_that_a_reset_gives(client):
    name = fresh()
    client.say(name, "r-1", "hello")
    request = client.messages.ResetConversationRequest(key=client.key(name), request_id="reset-1")
    head = client.conversations.ResetConversation(request, timeout=CALL_SECONDS).head
    request = client.messages.WatchConversationRequest(key=client.key(name), after=head)
    watch = client.conversations.WatchConversation(request, timeout=CALL_SECONDS)
    # The headers come once the watch is open.
    watch.initial_metadata()
    later = client.say(name, "r-2", "hello").turn
    kinds = []
    for event in watch:
        kinds.append(event.WhichOneof("event"))
        if kinds[-1] == "committed":
            same(event.committed.turn, later)
            break
    watch.cancel()


def a_watch_behind_another_history_is_refused(client):
    name = fresh()
    head = client.say(name, "r-1", "hello").turn.head
    head.hash = bytes(32)
    request = client.messages.WatchConversationRequest(key=client.key(name), after=head)
    watch = lambda: next(client.conversations.WatchConversation(request, timeout=CALL_SECONDS))
    told = refused(grpc.StatusCode.ABORTED, "HISTORY_CHANGED", watch).info.metadata
    same(told["turn_seq"], "1")


def a_stream_tells_acceptance_stages_and_the_committed_turn(client):
    name = fresh()
    request = client.messages.StreamTurnRequest(turn=client.turn(name, "r-1", "hello"))
    events = list(client.conversations.StreamTurn(request, timeout=CALL_SECONDS))
    kinds = [event.WhichOneof("event") for event in events]
    same((kinds[0], kinds[-1]), ("accepted", "committed"))
    same(set(kinds[1:-1]), {"stage"})
    offsets = [(event.offset.turn_seq, event.offset.attempt, event.offset.index) for event in events]
    same(offsets, [(1, 1, index) for index in range(len(events))])
    again = client.say(name, "r-1", "hello").turn
    same([event.stage for event in events[1:-1]], list(again.stages))
    again.ClearField("stages")
    same(events[-1].committed.turn, again)


def stages_are_told_where_they_are_asked_for(client):
    name = fresh()
    request = client.turn(name, "r-1", "hello")
    told = client.submit(request).turn
    request.include_stages = False
    untold = client.submit(request).turn
    assert told.stages and not untold.stages, "the stages are not as asked for"
    told.ClearField("stages")
    same(untold, told)


def a_reset_clears_the_state_and_the_sequence_goes_on(client):
    name = fresh()
    said = client.say(name, "r-1", "cancel order A-1001", flow="order-desk").turn
    request = client.messages.ResetConversationRequest(key=client.key(name), request_id="reset-1", reason="a test")
    reset = lambda: client.conversations.ResetConversation(request, timeout=CALL_SECONDS)
    first, again = reset(), reset()
    same((first.replayed, again.replayed, first.head.turn_seq), (False, True, 1))
    after = client.say(name, "r-2", "hello", flow="order-desk").turn
    same((after.turn_seq, after.intent_before, after.state_before), (2, said.intent_before, said.state_before))
    assert said.state != said.state_before, "nothing was there to be cleared"


def turns_are_listed_page_by_page(client):
    name = fresh()
    said = [client.say(name, f"r-{number}", "hello").turn for number in range(1, 6)]
    listed, next_seq = [], 2
    while next_seq:
        request = client.messages.ListTurnsRequest(key=client.key(name), from_seq=next_seq, page_size=3)
        page = client.conversations.ListTurns(request, timeout=CALL_SECONDS)
        listed, next_seq = listed + list(page.turns), page.next_from_seq
    same(listed, said[1:])
    request = client.messages.ListTurnsRequest(key=client.key(name), page_size=1001)
    invalid("page_size", lambda: client.conversations.ListTurns(request, timeout=CALL_SECONDS))


def a_page_of_large_turns_fits_what_clients_take(client):
    name = fresh()
    for number in range(1, 301):
        client.say(name, f"r-{number}", "a" * (16 * 1024))
    listed, next_seq = [], 1
    while next_seq:
        request = client.messages.ListTurnsRequest(key=client.key(name), from_seq=next_seq, page_size=1000)
        page = client.conversations.ListTurns(request, timeout=CALL_SECONDS)
        listed, next_seq = listed + [turn.turn_seq for turn in page.turns], page.next_from_seq
        assert page.ByteSize() <= 4 * 1024 * 1024, f"a page has {page.ByteSize()} bytes"
    same(listed, list(range(1, 301)))


def a_tenant_lists_its_own_conversations_only(client):
    ours, theirs = f"t-{uuid.uuid4().hex}", f"t-{uuid.uuid4().hex}"
    for tenant, names in ((ours, ("c-1", "c-2", "c-3")), (theirs, ("c-9",))):
        for name in names:
            client.say(name, "r-1", "hello", key=client.key(name, tenant=tenant))
    listed, token = [], ""
    while True:
        request = client.messages.ListConversationsRequest(tenant=ours, page_size=2, page_token=token)
        page = client.conversations.ListConversations(request, timeout=CALL_SECONDS)
        listed += [conversation.key.conversation for conversation in page.conversations]
        token = page.next_page_token
        if not token:
            break
    same(listed, ["c-1", "c-2", "c-3"])


def unknown_conversations_and_flows_are_not_found(client):
    absent = grpc.StatusCode.NOT_FOUND
    refused(absent, "CONVERSATION_NOT_FOUND", lambda: client.say(fresh(), "r-1", "hello", flow=""))
    refused(absent, "FLOW_NOT_FOUND", lambda: client.say(fresh(), "r-1", "hello", flow="no-such-flow"))


def texts_are_bounded(client):
    invalid("input.text", lambda: client.say(fresh(), "r-1", ""))
    invalid("input.text", lambda: client.say(fresh(), "r-1", "a" * (16 * 1024 + 1)))
    same(client.say(fresh(), "r-1", "a" * (16 * 1024)).turn.turn_seq, 1)
    request = client.turn(fresh(), "r-1", "")
    request.ClearField("input")
    invalid("input", lambda: client.submit(request))


def control_characters_are_refused(client):
    for character in "\x00\x07\x0b\r\x1b\x7f\x85":
        invalid("input.text", lambda: client.say(fresh(), "r-1", f"a{character}b"))
    same(client.say(fresh(), "r-1", "a\n\tb").turn.turn_seq, 1)


def ids_are_checked(client):
    for bad in ("", "../etc", "a/../b", "a/b", "-a", "a b", "a\n", "é", "a" * 129):
        key = client.key(bad)
        invalid("key.conversation", lambda: client.say("", "r-1", "hello", key=key))
        tenant = client.key(fresh(), tenant=bad)
        invalid("key.tenant", lambda: client.say("", "r-1", "hello", key=tenant))
        if bad:
            invalid("flow", lambda: client.say(fresh(), "r-1", "hello", flow=bad))
    longest = client.key(uuid.uuid4().hex.ljust(128, "x"))
    same(client.say("", "r-1", "hello", key=longest).turn.turn_seq, 1)
    request = client.turn(fresh(), "r-1", "hello")
    request.ClearField("key")
    invalid("key", lambda: client.submit(request))


def request_ids_are_required_and_checked(client):
    for bad in ("", "a b", "é", "a\n", "a" * 129):
        invalid("request_id", lambda: client.say(fresh(), bad, "hello"))
    same(client.say(fresh(), "!" * 128, "hello").turn.turn_seq, 1)


def the_routing_metadata_must_agree(client):
    name = fresh()
    request = client.turn(name, "r-1", "hello")
    for routed in (f"{TENANT}/{fresh()}", f"other/{name}", name, f"{TENANT}/{name}/"):
        call = lambda: client.submit(request, metadata=[("x-conversation-key", routed)])
        invalid("metadata:x-conversation-key", call)
    agreed = client.submit(request, metadata=[("x-conversation-key", f"{TENANT}/{name}")])
    same(agreed.turn.turn_seq, 1)


def every_bad_field_is_named_at_once(client):
    call = lambda: client.say("a/b", "", "\x07")
    refusal = refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", call)
    same(sorted(refusal.fields), ["input.text", "key.conversation", "request_id"])


def structured_input_says_what_a_text_would(client):
    name = fresh()
    said = {"slots": {"order_number": "A-1001"}, "intent": "cancel"}
    turn = client.submit(client.structured(name, "r-1", json.dumps(said))).turn
    same((turn.intent, turn.state), ("cancel", "confirm"))
    assert "A-1001" in turn.reply.text, f"the number was not read: {turn.reply.text!r}"
    same((turn.input.WhichOneof("input"), json.loads(turn.input.json)), ("json", said))
    again = client.submit(client.structured(name, "r-1", json.dumps(said, indent=2, sort_keys=True)))
    same((again.replayed, again.turn), (True, turn))
    reused = lambda: client.submit(client.structured(name, "r-1", '{"intent": "cancel"}'))
    refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", reused)
    same(client.turns(name), [turn])
    confirmed = client.submit(client.structured(name, "r-2", '{"action": "cancel_order", "confirm": false}')).turn
    assert confirmed.state != "confirm", "nothing was dropped"


def what_is_wrong_with_structured_input_is_named_by_its_path(client):
    for path, source in (
        ("input.json", ""),
        ("input.json", "[]"),
        ("input.json", '{"intents": "cancel"}'),
        ("input.json", "[" * 1000 + "]" * 1000),
        ("input.json", json.dumps({"text": "a" * 16 * 1024})),
        ("input.json.intent", '{"intent": 7}'),
        ("input.json.slots", '{"slots": ["A-1001"]}'),
        ("input.json.confirm", '{"confirm": true}'),
        ("input.json.text", '{"text": "\\u0007"}'),
    ):
        invalid(path, lambda: client.submit(client.structured(fresh(), "r-1", source)))


def events_are_refused_as_unsupported(client):
    request = client.turn(fresh(), "r-1", "")
    request.input.CopyFrom(client.common.TurnInput(event=client.common.EventInput(name="shipped")))
    refused(grpc.StatusCode.UNIMPLEMENTED, "UNSUPPORTED", lambda: client.submit(request))


def follow_ups_are_offered_wherever_a_turn_is_told(client):
    name = fresh()
    turn = client.say(name, "r-1", "qwertz").turn
    same(list(turn.reply.follow_ups), FOLLOW_UPS)
    assert not turn.reply.HasField("json") and not turn.HasField("usage"), "no model was asked"
    same(client.turns(name), [turn])
    request = client.messages.StreamTurnRequest(turn=client.turn(name, "r-1", "qwertz"))
    *_, last = client.conversations.StreamTurn(request, timeout=CALL_SECONDS)
    same(list(last.committed.turn.reply.follow_ups), FOLLOW_UPS)


def a_graph_is_drawn_as_asked(client):
    messages = client.flow_messages
    beginnings = {
        messages.GRAPH_FORMAT_DOT: 'digraph "faq-desk"',
        messages.GRAPH_FORMAT_MERMAID: "flowchart",
        messages.GRAPH_FORMAT_SVG: "<svg",
    }
    for kind, beginning in beginnings.items():
        request = messages.GetTransitionGraphRequest(tenant=TENANT, flow=FLOW, format=kind)
        drawing = client.flows.GetTransitionGraph(request, timeout=CALL_SECONDS).drawing
        assert drawing.startswith(beginning), f"{drawing[:40]!r} does not begin with {beginning!r}"
    request = messages.GetTransitionGraphRequest(tenant=TENANT, flow=FLOW)
    rows = client.flows.GetTransitionGraph(request, timeout=CALL_SECONDS)
    assert rows.states and rows.transitions and not rows.drawing, "rows are what is told by default"


def operators_see_the_conversation(client):
    name = fresh()
    client.say(name, "r-1", "hello")
    request = client.operator_messages.GetSupervisionTreeRequest(
        kind=client.operator_messages.ACTOR_KIND_CONVERSATION, tenant=TENANT, page_size=1000
    )
    tree = client.operator.GetSupervisionTree(request, timeout=CALL_SECONDS)
    assert f"{TENANT}/{name}" in [actor.key for actor in tree.actors], "the conversation is not in the tree"
    request = client.operator_messages.GetRuntimeRequest()
    runtime = client.operator.GetRuntime(request, timeout=CALL_SECONDS)
    assert runtime.epoch >= 1 and runtime.writable and not runtime.draining, f"not serving: {runtime}"
    assert FLOW in [flow.name for flow in runtime.flows], f"{FLOW} is not among the flows"


def reflection_knows_the_services(client):
    services = ProtoReflectionDescriptorDatabase(client.channel).get_services()
    missing = {"colloquy.v1.ConversationService", "colloquy.v1.OperatorService", "grpc.health.v1.Health"} - set(services)
    assert not missing, f"reflection does not list {missing}"


def health_answers(client):
    stub = health_pb2_grpc.HealthStub(client.channel)
    for service in ("", "colloquy.v1.ConversationService", "colloquy.v1.OperatorService"):
        request = health_pb2.HealthCheckRequest(service=service)
        status = stub.Check(request, timeout=CALL_SECONDS).status
        same(status, health_pb2.HealthCheckResponse.SERVING)


CHECKS = [
    turns_are_counted_and_answered,
    a_repeated_request_id_gets_the_same_reply,
    a_request_id_with_another_text_is_refused,
    a_wrong_expected_seq_is_told_the_current_head,
    a_watch_resumes_from_a_seq_and_follows,
    a_watch_takes_the_head_that_a_reset_gives,
    a_watch_behind_another_history_is_refused,
    a_stream_tells_acceptance_stages_and_the_committed_turn,
    stages_are_told_where_they_are_asked_for,
    a_reset_clears_the_state_and_the_sequence_goes_on,
    turns_are_listed_page_by_page,
    a_page_of_large_turns_fits_what_clients_take,
    a_tenant_lists_its_own_conversations_only,
    unknown_conversations_and_flows_are_not_found,
    texts_are_bounded,
    control_characters_are_refused,
    ids_are_checked,
    request_ids_are_required_and_checked,
    the_routing_metadata_must_agree,
    every_bad_field_is_named_at_once,
    structured_input_says_what_a_text_would,
    what_is_wrong_with_structured_input_is_named_by_its_path,
    events_are_refused_as_unsupported,
    follow_ups_are_offered_wherever_a_turn_is_told,
    a_graph_is_drawn_as_asked,
    operators_see_the_conversation,
    reflection_knows_the_services,
    health_answers,
]


def check_restart(server, folder):
    """What one server said, the next one on the same store says again."""
    name = fresh()
    folder.mkdir()
    with running_server(server, folder) as address:
        client = Client(address)
        said = [client.say(name, "r-1", "qwertz").turn]
        structured = client.structured(name, "r-2", '{"intent": "opening_hours"}', flow=FLOW)
        said.append(client.submit(structured).turn)
        same((list(said[0].reply.follow_ups), said[1].intent), (FOLLOW_UPS, "opening_hours"))
        client.channel.close()
    with running_server(server, folder) as address:
        client = Client(address)
        same(client.turns(name), said)
        again = client.submit(client.structured(name, "r-2", '{ "intent" : "opening_hours" }', flow=FLOW))
        same((again.replayed, again.turn), (True, said[1]))
        client.channel.close()


def check_all(client, checks):
    """Runs every check; the number that failed."""
    failed = 0
    for check in checks:
        name = check.__name__.replace("_", " ")
        try:
            check(client)
            print(f"ok      {name}")
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAILED  {name}")
            traceback.print_exc()
    print(f"{len(checks) - failed} passed, {failed} failed", flush=True)
    return failed


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--server", default=str(ROOT / "target/debug/colloquy"), help="the program to start")
    arguments.add_argument("--addr", help="a server that runs already, HOST:PORT")
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_stubs(folder)
        if arguments.addr:
            return check_all(Client(arguments.addr), CHECKS)
        with running_server(arguments.server, folder) as address:
            client = Client(address)
            def a_restart_changes_nothing_that_was_said(_):
                check_restart(arguments.server, folder / "restarted")

            failed = check_all(client, [*CHECKS, a_restart_changes_nothing_that_was_said])
            client.channel.close()
            return failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
