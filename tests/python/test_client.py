"""A client that knows only proto/: what it sees is what any client in another language sees."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import traceback

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT = 10


def generate(folder):
    files = ["common.proto", "errors.proto", "conversation.proto", "operator.proto"]
    arguments = ["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(arguments + [f"colloquy/v1/{name}" for name in files]) != 0:
        raise RuntimeError("the contract does not compile")
    sys.path.insert(0, folder)


def start(server, folder):
    command = [server, "serve", "--json", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
    process = subprocess.Popen(command + ["--data-dir", f"{folder}/store"], stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    line = process.stdout.readline()
    watchdog.cancel()
    return process, json.loads(line)["grpc"]


def details(error, kind):
    status = rpc_status.from_call(error)
    for detail in status.details:
        message = kind()
        if detail.Unpack(message):
            return message
    raise AssertionError(f"no {kind.__name__} in {error.details()}")


class Tests:
    def __init__(self, address):
        from colloquy.v1 import common_pb2, conversation_pb2, conversation_pb2_grpc

        self.common, self.messages = common_pb2, conversation_pb2
        self.channel = grpc.insecure_channel(address)
        self.stub = conversation_pb2_grpc.ConversationServiceStub(self.channel)

    def request(self, conversation="py", request_id="r-1", text="hello", tenant="acme", flow="order-desk", **more):
        key = self.common.ConversationKey(tenant=tenant, conversation=conversation)
        turn = self.common.TurnInput(text=text)
        return self.messages.SubmitTurnRequest(key=key, request_id=request_id, flow=flow, input=turn, **more)

    def submit(self, metadata=None, **fields):
        return self.stub.SubmitTurn(self.request(**fields), timeout=TIMEOUT, metadata=metadata)

    def refused(self, code, metadata=None, **fields):
        try:
            self.submit(metadata=metadata, **fields)
        except grpc.RpcError as error:
            assert error.code() == code, f"{error.code()} {error.details()}"
            return error
        raise AssertionError(f"not refused with {code}")

    def invalid(self, field, **fields):
        error = self.refused(grpc.StatusCode.INVALID_ARGUMENT, **fields)
        named = [violation.field for violation in details(error, error_details_pb2.BadRequest).field_violations]
        assert named == [field], named

    def test_turns_are_numbered_without_gaps(self):
        seqs = [self.submit(conversation="gapless", request_id=f"r-{n}").turn.turn_seq for n in range(5)]
        assert seqs == [1, 2, 3, 4, 5], seqs

    def test_the_same_request_gives_the_same_reply(self):
        first = self.submit(conversation="same", text="cancel order A-1001")
        again = self.submit(conversation="same", text="cancel order A-1001")
        assert not first.replayed and again.replayed
        assert again.turn == first.turn, (first.turn, again.turn)

    def test_the_same_id_with_another_text_is_refused(self):
        self.submit(conversation="reused")
        error = self.refused(grpc.StatusCode.ALREADY_EXISTS, conversation="reused", text="other")
        assert details(error, error_details_pb2.ErrorInfo).reason == "REQUEST_ID_REUSED"

    def test_a_wrong_expected_seq_tells_the_current_head(self):
        head = self.submit(conversation="expected").turn.head
        error = self.refused(grpc.StatusCode.ABORTED, conversation="expected", request_id="r-2", expected_seq=7)
        info = details(error, error_details_pb2.ErrorInfo)
        assert info.reason == "SEQ_MISMATCH"
        assert (info.metadata["turn_seq"], info.metadata["hash"]) == ("1", head.hash.hex())
        assert self.submit(conversation="expected", request_id="r-3", expected_seq=1).turn.turn_seq == 2

    def test_a_watch_resumes_from_a_seq_and_from_a_head(self):
        turns = [self.submit(conversation="watched", request_id=f"r-{n}").turn for n in range(4)]
        key = self.common.ConversationKey(tenant="acme", conversation="watched")
        request = self.messages.WatchConversationRequest(key=key, from_seq=3)
        watch = self.stub.WatchConversation(request, timeout=TIMEOUT)
        seen = [next(watch).committed.turn.turn_seq for _ in range(2)]
        self.submit(conversation="watched", request_id="live")
        seen.append(next(watch).committed.turn.turn_seq)
        watch.cancel()
        assert seen == [3, 4, 5], seen
        request = self.messages.WatchConversationRequest(key=key, after=turns[1].head)
        watch = self.stub.WatchConversation(request, timeout=TIMEOUT)
        assert next(watch).committed.turn.turn_seq == 3
        watch.cancel()

    def test_a_watch_from_another_history_is_refused(self):
        head = self.submit(conversation="history").turn.head
        head.hash = bytes(32)
        key = self.common.ConversationKey(tenant="acme", conversation="history")
        try:
            next(self.stub.WatchConversation(self.messages.WatchConversationRequest(key=key, after=head), timeout=TIMEOUT))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.ABORTED
            assert details(error, error_details_pb2.ErrorInfo).reason == "HISTORY_CHANGED"
            return
        raise AssertionError("not refused")

    def test_a_stream_is_accepted_staged_and_committed_in_order(self):
        request = self.messages.StreamTurnRequest(turn=self.request(conversation="stream"))
        events = list(self.stub.StreamTurn(request, timeout=TIMEOUT))
        kinds = [event.WhichOneof("event") for event in events]
        assert kinds[0] == "accepted" and kinds[-1] == "committed" and set(kinds[1:-1]) == {"stage"}, kinds
        assert [event.offset.index for event in events] == list(range(len(events)))
        assert all(event.event_version == 1 and event.offset.turn_seq == 1 for event in events)

    def test_every_bad_input_is_named(self):
        self.invalid("input.text", text="")
        self.invalid("input.text", text="a" * (16 * 1024 + 1))
        self.invalid("input.text", text="a\x07b")
        self.invalid("key.tenant", tenant="../acme")
        self.invalid("key.conversation", conversation="../etc")
        self.invalid("key.tenant", tenant="a" * 129)
        self.invalid("key.conversation", conversation="a" * 129)
        self.invalid("request_id", request_id="")
        self.invalid("request_id", request_id="a" * 129)
        self.invalid("metadata:x-conversation-key", metadata=[("x-conversation-key", "acme/other")])
        assert self.submit(conversation="limits", text="a" * (16 * 1024)).turn.turn_seq == 1

    def test_an_absent_conversation_is_not_found(self):
        error = self.refused(grpc.StatusCode.NOT_FOUND, conversation="absent", flow="")
        assert details(error, error_details_pb2.ErrorInfo).reason == "CONVERSATION_NOT_FOUND"

    def test_health_answers(self):
        health = health_pb2_grpc.HealthStub(self.channel)
        request = health_pb2.HealthCheckRequest(service="colloquy.v1.ConversationService")
        assert health.Check(request, timeout=TIMEOUT).status == health_pb2.HealthCheckResponse.SERVING

    def test_a_reset_keeps_the_sequence(self):
        self.submit(conversation="reset", text="cancel order A-1001")
        key = self.common.ConversationKey(tenant="acme", conversation="reset")
        reset = self.messages.ResetConversationRequest(key=key, request_id="reset-1", reason="test")
        assert not self.stub.ResetConversation(reset, timeout=TIMEOUT).replayed
        assert self.stub.ResetConversation(reset, timeout=TIMEOUT).replayed
        turn = self.submit(conversation="reset", request_id="r-2", text="hello").turn
        assert (turn.turn_seq, turn.intent_before, turn.state_before) == (2, "desk", "idle"), turn


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    server = str(pathlib.Path(parser.parse_args().server).resolve())
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        generate(folder)
        process, address = start(server, folder)
        try:
            tests = Tests(address)
            for name in sorted(name for name in dir(tests) if name.startswith("test_")):
                try:
                    getattr(tests, name)()
                    passed += 1
                except Exception:
                    failed += 1
                    print(f"FAILED {name}")
                    traceback.print_exc()
        finally:
            process.terminate()
            code = process.wait(timeout=30)
        if code != 0:
            failed += 1
            print(f"FAILED the server ended with code {code}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
