"""A stand-in for Vonage on loopback: dial the server, and hear what it plays, without an account.

Vonage's document follows a fact in brackets; tests/sandbox/test_rules.py has what no document says.
"""

from sandbox.account import Account
from sandbox.audio import sound
from sandbox.call import Call
from sandbox.sandbox import FOLDER, Sandbox
from sandbox.voice_api import REGIONS, Asked

__all__ = ["FOLDER", "REGIONS", "Account", "Asked", "Call", "Sandbox", "sound"]
