"""`python -m minibert` and the command `minibert`: Ctrl-C is heard before NumPy and the commands are imported."""

import os
import sys


def _stop(*_: object) -> int:
    try:
        os.write(2, b"minibert: interrupted\n")
    finally:
        os._exit(130)


try:
    import signal
except KeyboardInterrupt:
    _stop()


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a shell's background jobs are deaf to it
    if heard:
        signal.signal(signal.SIGINT, _stop)  # an import would turn the exception into another, or print it
    from minibert import cli

    try:
        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return cli.main(argv)
    except KeyboardInterrupt:
        return _stop()
    finally:
        if heard:
            signal.signal(signal.SIGINT, _stop)


if __name__ == "__main__":
    sys.exit(main())
