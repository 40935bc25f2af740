import pytest

from switchyard.sandbox.apiserver.credentials import ISSUER, Credentials, TokenKey
from switchyard.sandbox.apiserver.hooks import ADMIN
from switchyard.sandbox.apiserver.resources import Json


class Clock:
    seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def key(clock: Clock) -> TokenKey:
    return TokenKey(now=clock)


@pytest.fixture
def accounts() -> dict[tuple[str, str], Json]:
    return {("ns", "bot"): {"metadata": {"namespace": "ns", "name": "bot", "uid": "u1"}}}


@pytest.fixture
def credentials(key: TokenKey, accounts: dict[tuple[str, str], Json]) -> Credentials:
    return Credentials({"secret": ADMIN}, key, lambda namespace, name: accounts.get((namespace, name)))


def _token(key: TokenKey, accounts: dict[tuple[str, str], Json], audience: str = ISSUER) -> str:
    return key.issue(accounts["ns", "bot"], [audience], 600).token


def test_a_service_accounts_token_names_it_and_its_groups(
    key: TokenKey, accounts: dict[tuple[str, str], Json], credentials: Credentials
) -> None:
    user = credentials.user(f"Bearer {_token(key, accounts)}")
    assert user is not None
    assert user.name == "system:serviceaccount:ns:bot"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    assert user.uid == "u1"


def test_the_admins_token_is_the_admins(credentials: Credentials) -> None:
    assert credentials.user("Bearer secret") == ADMIN


@pytest.mark.parametrize("header", ["Bearer wrong", "Basic secret", "Bearer", "Bearer a.b.c", "Bearer ä.ö.ü"])
def test_other_credentials_are_nobodys(credentials: Credentials, header: str) -> None:
    assert credentials.user(header) is None


def test_a_token_ends(
    key: TokenKey, clock: Clock, accounts: dict[tuple[str, str], Json], credentials: Credentials
) -> None:
    token = _token(key, accounts)
    clock.seconds += 599
    assert credentials.user(f"Bearer {token}") is not None
    clock.seconds += 2
    assert credentials.user(f"Bearer {token}") is None


def test_a_token_dies_with_its_account(
    key: TokenKey, accounts: dict[tuple[str, str], Json], credentials: Credentials
) -> None:
    token = _token(key, accounts)
    accounts["ns", "bot"] = {"metadata": {"namespace": "ns", "name": "bot", "uid": "u2"}}
    assert credentials.user(f"Bearer {token}") is None
    accounts.clear()
    assert credentials.user(f"Bearer {token}") is None


def test_a_token_for_another_audience_or_of_another_key_is_refused(
    key: TokenKey, clock: Clock, accounts: dict[tuple[str, str], Json], credentials: Credentials
) -> None:
    assert credentials.user(f"Bearer {_token(key, accounts, 'https://elsewhere')}") is None
    assert credentials.user(f"Bearer {_token(TokenKey(now=clock), accounts)}") is None


def test_a_changed_token_is_refused(
    key: TokenKey, accounts: dict[tuple[str, str], Json], credentials: Credentials
) -> None:
    header, claims, signature = _token(key, accounts).split(".")
    other = _token(key, {("ns", "bot"): {"metadata": {"namespace": "ns", "name": "root", "uid": "u1"}}})
    assert credentials.user(f"Bearer {header}.{other.split('.')[1]}.{signature}") is None
    assert credentials.user(f"Bearer {header}.{claims}.{signature[::-1]}") is None
