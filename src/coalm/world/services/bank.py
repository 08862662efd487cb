"""Bank accounts: balances and transfers."""

from __future__ import annotations

import random
from collections.abc import Mapping

from coalm.errors import ToolError
from coalm.world.database import Database
from coalm.world.names import people
from coalm.world.rules import Row, UnavailableError

TABLES = """
CREATE TABLE accounts (account_type TEXT, balance INTEGER);
CREATE TABLE payees (recipient_name TEXT);
CREATE TABLE transfers (reference_number TEXT PRIMARY KEY, account_type TEXT, recipient_name TEXT,
    amount INTEGER);
"""

_PAYEES = 60


def fill(database: Database, rng: random.Random) -> None:
    """The user's two accounts and the people whom money can be sent to."""
    balances = [("checking", rng.randint(900, 2400)), ("savings", rng.randint(4000, 9000))]
    database.insert("accounts", balances)
    database.insert("payees", [(name,) for name in people(rng, _PAYEES)])


def sample(database: Database, rng: random.Random, known: Mapping[str, str]) -> Row:
    """A value for every slot that a user may give, such that they belong together."""
    del known  # nothing that other services know concerns a bank
    return {
        **database.pick(rng, "accounts", ["account_type"]),
        **database.pick(rng, "payees", ["recipient_name"]),
        # Beyond the checking account now and then, so that some transfers fail.
        "amount": str(rng.choice((rng.randint(5, 99), rng.randrange(100, 900, 10), 2500))),
    }


def get_balance(database: Database, account_type: str) -> list[Row]:
    """What is in the account."""
    wanted = {"account_type": account_type}
    return database.search("accounts", ("account_type", "balance"), wanted)


def send_money(
    database: Database, recipient_name: str, amount: int, account_type: str = "checking"
) -> list[Row]:
    """Send the money."""
    found = database.search("payees", ["recipient_name"], {"recipient_name": recipient_name})
    if not found:
        raise ToolError(f"{recipient_name!r} is not among the people you can send money to")
    if amount <= 0:
        raise ToolError(f"the amount must be positive, not {amount}")
    (account,) = get_balance(database, account_type)
    left = int(account["balance"]) - amount
    if left < 0:
        raise UnavailableError(f"your {account_type} account holds only ${account['balance']}")
    database.change("UPDATE accounts SET balance = ? WHERE account_type = ?", left, account_type)
    name = found[0]["recipient_name"]
    return [
        {
            "account_type": account_type,
            "recipient_name": name,
            "amount": str(amount),
            "balance": str(left),
            "reference_number": database.book("transfers", account_type, name, amount),
        }
    ]


TOOLS = {"GetBalance": get_balance, "SendMoney": send_money}
