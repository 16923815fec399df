"""What a chain from outside must be like before anything is signed with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.connect import ca, intermediates
from agent.errors import RequestError
from proxy.spiffe import SpiffeId
from tests.agent.connect.keeper import Keeper, pem
from tests.agent.connect.paths import verifies

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLUSTER = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
OTHER = "11111111-bbbb-4ccc-8ddd-eeeeeeeeeeee"
LEAF_S = 259_200.0
KEY = ca.generate_key()
CSR = intermediates.request(KEY, cluster_id=CLUSTER)
ROOT = Keeper(NOW)
GOOD = ROOT.intermediate(CSR)


def installed(bundle: str, key: ca.PrivateKey = KEY, now: datetime = NOW) -> ca.Root:
    return intermediates.installed(bundle, key, cluster_id=CLUSTER, leaf_ttl_s=LEAF_S, now=now)


def of(uri: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])


def leaf(signer: ca.Root, now: datetime = NOW) -> str:
    identity = SpiffeId.service(f"{CLUSTER}.consul", "dc1", "web")
    csr = ca.make_csr(ca.generate_key(), identity)
    request = ca.read_csr(csr, trust_domain=f"{CLUSTER}.consul", datacenter="dc1")
    kept = ca.signer_of(signer.secret)
    return ca.sign_leaf(request, signer=kept, serial=9, ttl_s=LEAF_S, now=now).cert_pem


def test_the_request_asks_for_an_authority_of_our_trust_domain_and_for_no_more():
    request = x509.load_pem_x509_csr(CSR.encode())
    found = {type(each.value): each.value for each in request.extensions}
    assert found[x509.BasicConstraints] == x509.BasicConstraints(ca=True, path_length=0)
    names = found[x509.SubjectAlternativeName]
    assert names == of(f"spiffe://{CLUSTER}.consul")
    [common] = request.subject
    assert common.value.startswith("sec-") and common.value.endswith(".consul.ca.aaaaaaaa.consul")
    assert request.is_signature_valid
    again = x509.load_pem_x509_csr(intermediates.request(KEY, cluster_id=CLUSTER).encode())
    other = intermediates.request(ca.generate_key(), cluster_id=CLUSTER)
    assert again.subject == request.subject, "the same key has the same name"
    assert x509.load_pem_x509_csr(other.encode()).subject != request.subject


@pytest.mark.parametrize("above", [0, 1, 2])
def test_leaves_bring_the_path_to_the_root_that_everybody_trusts(above):
    keeper = ROOT
    for at in range(above):
        keeper = Keeper(NOW, above=keeper, name=f"ACME {at}")
    found = installed(keeper.intermediate(CSR))
    assert found.public.root_cert == pem(ROOT.certificate)
    assert len(found.public.intermediate_certs) == above + 1
    chain = leaf(found)
    assert verifies(chain, [found.public.root_cert], NOW)
    assert not verifies(chain, [pem(Keeper(NOW).certificate)], NOW)
    first, *brought = x509.load_pem_x509_certificates(chain.encode())
    assert len(brought) == above + 1
    aki = first.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert ca.colons(aki.key_identifier or b"") == found.public.signing_key_id


def test_order_does_not_matter_and_the_leaf_ends_with_its_signer():
    certificates = x509.load_pem_x509_certificates(GOOD.encode())
    assert installed(pem(*reversed(certificates))).public == installed(GOOD).public
    late = NOW + timedelta(days=364)
    [first, *_] = x509.load_pem_x509_certificates(leaf(installed(GOOD), late).encode())
    assert first.not_valid_after_utc == certificates[0].not_valid_after_utc


def bad() -> dict[str, tuple[str, str]]:
    san = x509.SubjectAlternativeName
    two = san([
        x509.UniformResourceIdentifier(f"spiffe://{CLUSTER}.consul"), x509.DNSName("a.example")
    ])  # fmt: skip
    no_ca = x509.BasicConstraints(ca=False, path_length=None)
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    narrow = Keeper(NOW, path_length=0)
    below = Keeper(NOW, above=narrow, name="below")
    foreign = Keeper(NOW, more=[of(f"spiffe://{OTHER}.consul")])
    return {
        "another key": (ROOT.intermediate(
            intermediates.request(ca.generate_key(), cluster_id=CLUSTER)), "open signing request"),
        "alone": (GOOD[: len(GOOD) - len(ROOT.chain())], "not 1"),
        "no text": ("hello", "error parsing"),
        "nothing": ("", "error parsing"),
        "too long": ("x" * 70_000, "more than 65536"),
        "no authority": (ROOT.intermediate(CSR, drop=x509.BasicConstraints, more=[no_ca]),
                         "is no CA certificate"),
        "constraints gone": (ROOT.intermediate(CSR, drop=x509.BasicConstraints),
                             "is no CA certificate"),
        "no name": (ROOT.intermediate(CSR, drop=san), "lacks the URI"),
        "another trust domain": (
            ROOT.intermediate(CSR, drop=san, more=[of(f"spiffe://{OTHER}.consul")]), "we are"),
        "a service": (ROOT.intermediate(CSR, drop=san, more=[
            of(f"spiffe://{CLUSTER}.consul/ns/default/dc/dc1/svc/web")]), "we are"),
        "a host's name": (ROOT.intermediate(CSR, drop=san, more=[two]), "other alternative names"),
        "over soon": (ROOT.intermediate(CSR, days=3), "ends before its first leaf"),
        "not yet": (ROOT.intermediate(CSR, start=NOW + timedelta(hours=1)), "not valid yet"),
        "another root": (
            GOOD[: len(GOOD) - len(ROOT.chain())] + pem(Keeper(NOW).certificate), "is missing"),
        "one too many": (GOOD + pem(Keeper(NOW, name="stranger").certificate), "no root|missing"),
        "no root": (Keeper(NOW, above=ROOT, name="x").intermediate(CSR)[: -len(ROOT.chain())],
                    "no root"),
        "weak root": (Keeper(NOW, key=weak).intermediate(CSR), "RSA of 2048 bits"),
        "path too long": (below.intermediate(CSR), "allows 0 authorities"),
        "root of another": (foreign.intermediate(CSR), "root certificate is of"),
    }  # fmt: skip


BAD = bad()


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_ours_is_refused_with_its_reason(name):
    bundle, reason = BAD[name]
    with pytest.raises(RequestError, match=reason):
        installed(bundle)


@settings(max_examples=60)
@given(st.data())
def test_damaged_bundles_are_refused_and_never_raise_anything_else(data):
    at = data.draw(st.integers(0, len(GOOD) - 1))
    damaged = GOOD[:at] + data.draw(st.text(max_size=3)) + GOOD[at + data.draw(st.integers(0, 3)) :]
    try:
        found = installed(damaged)
    except RequestError:
        return
    assert found.public.root_cert == installed(GOOD).public.root_cert


def test_other_kinds_of_keys():
    for key in (ec.generate_private_key(ec.SECP384R1()), ca.generate_key("rsa", 2048)):
        bundle = Keeper(NOW, key=key).intermediate(CSR)
        assert verifies(leaf(installed(bundle)), [installed(bundle).public.root_cert], NOW)
    assert intermediates.half_life_at(
        x509.load_pem_x509_certificate(GOOD.encode())
    ) - NOW == timedelta(days=182.5, minutes=-1)
