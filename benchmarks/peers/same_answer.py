"""A server that answers every request with the same bytes, which it reads from standard input; it prints its port.

It does nothing else: what a client takes with it is the client's own time, and the kernel's.
"""

import socket
import sys
import threading


def answer(connection: socket.socket, same: bytes) -> None:
    """Answer the requests of a connection until it is closed."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    while more := connection.recv(65536):
        received += more
        head, whole, body = received.partition(b"\r\n\r\n")
        if not whole:
            continue
        lines = head.lower().split(b"\r\n")
        length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        if len(body) >= length:
            connection.sendall(same)
            received = body[length:]


def main() -> None:
    same = sys.stdin.buffer.read()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection, same), daemon=True).start()


if __name__ == "__main__":
    main()
