"""One root follows another: what may be one, cross-signing, and when old ones go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from agent.connect import ca, roots, settings
from agent.connect.settings import CASettings
from agent.errors import RequestError
from proxy.spiffe import SpiffeId
from tests.agent.connect.paths import verifies

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLUSTER = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
KINDS = [("ec", 224), ("ec", 256), ("ec", 384), ("ec", 521), ("rsa", 2048)]
PLAIN = CASettings(leaf_ttl_s=259_200.0, csr_max_per_second=0.0)


def root(kind: str = "ec", bits: int = 256, *, name: str = "aaaaaaaa", **more: object) -> ca.Root:
    key = ca.generate_key(kind, bits)
    return ca.make_root(key=key, cluster_id=CLUSTER, serial=7, name_part=name, now=NOW, **more)


def leaf_of(signer: object, at: datetime = NOW) -> str:
    identity = SpiffeId.service(f"{CLUSTER}.consul", "dc1", "web")
    csr = ca.make_csr(ca.generate_key(), identity)
    request = ca.read_csr(csr, trust_domain=f"{CLUSTER}.consul", datacenter="dc1")
    kept = ca.signer_of(signer)
    return ca.sign_leaf(request, signer=kept, serial=9, ttl_s=259_200.0, now=at).cert_pem


@pytest.mark.parametrize("new_kind", KINDS, ids=str)
@pytest.mark.parametrize("old_kind", [KINDS[1], KINDS[4]], ids=str)
def test_after_a_rotation_old_and_new_verify_each_other(old_kind, new_kind):
    old, new = root(*old_kind), root(*new_kind, name="bbbbbbbb")
    cross = roots.cross_sign(new, old.secret, serial=8, now=NOW)
    listed, signer = roots.succeeded((old.public,), new, cross, now=NOW)
    assert [one.active for one in listed] == [False, True]
    assert listed[0].rotated_out_at == "2026-01-01T00:00:00Z"
    before, after = leaf_of(old.secret), leaf_of(signer)
    both = [one.root_cert for one in listed]
    assert verifies(after, [new.public.root_cert], NOW)
    assert verifies(after, [old.public.root_cert], NOW), "the attached root leads to the old one"
    assert verifies(before, both, NOW) and verifies(after, both, NOW)
    alone = after.partition("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n"
    assert not verifies(alone, [old.public.root_cert], NOW)
    certificate = x509.load_pem_x509_certificate(cross.encode())
    assert certificate.not_valid_after_utc == NOW + timedelta(days=7)
    assert certificate.subject != certificate.issuer


def test_a_cross_signed_root_is_attached_while_it_is_valid():
    old, new = root(), root(name="bbbbbbbb")
    cross = roots.cross_sign(new, old.secret, serial=8, now=NOW)
    _, signer = roots.succeeded((old.public,), new, cross, now=NOW)
    assert leaf_of(signer).count("BEGIN") == 2
    later = leaf_of(signer, NOW + timedelta(days=8))
    assert later.count("BEGIN") == 1
    assert verifies(later, [new.public.root_cert], NOW + timedelta(days=8))


def test_only_another_key_or_kind_is_another_root():
    old = root()
    same, active = old.secret, old.public
    assert not roots.wants_another(PLAIN, active, same)
    assert not roots.wants_another(replace(PLAIN, leaf_ttl_s=3600.0), active, same)
    assert roots.wants_another(replace(PLAIN, key_bits=384), active, same)
    assert roots.wants_another(replace(PLAIN, key_type="rsa", key_bits=2048), active, same)
    given = replace(PLAIN, private_key=same.private_key)
    assert not roots.wants_another(given, active, same)
    other = ca.key_pem(ca.generate_key())
    assert roots.wants_another(replace(PLAIN, private_key=other), active, same)
    brought = replace(PLAIN, root_cert=active.root_cert, key_type="rsa")
    assert not roots.wants_another(brought, active, same)


def test_a_root_that_an_operator_brings():
    mine = root("rsa", 2048)
    key = roots.load_key(mine.secret.private_key)
    wish = replace(PLAIN, root_cert=mine.public.root_cert, private_key=mine.secret.private_key)
    found = roots.brought(wish, key, cluster_id=CLUSTER, now=NOW)
    assert found.public.id == mine.public.id
    assert (found.public.private_key_type, found.public.private_key_bits) == ("rsa", 2048)
    leaf = ca.make_csr(key, SpiffeId.service("x.consul", "dc1", "w"))
    cases = [
        (wish, ca.generate_key(), NOW, CLUSTER, "does not belong"),
        (wish, key, NOW + timedelta(days=36_000), CLUSTER, "ends before"),
        (wish, key, NOW - timedelta(days=1), CLUSTER, "not valid yet"),
        (wish, key, NOW, "b" * 36, "the root certificate is of"),
        (replace(wish, root_cert=leaf), key, NOW, CLUSTER, "error parsing root cert"),
        (replace(wish, root_cert=leaf_of(mine.secret)), key, NOW, CLUSTER, "no CA certificate"),
    ]
    for settings_, key_, now, cluster, reason in cases:
        with pytest.raises(RequestError, match=reason):
            roots.brought(settings_, key_, cluster_id=cluster, now=now)


def test_an_expired_root_signs_nobody():
    old, new = root(ttl_s=3600.0), root(name="bbbbbbbb")
    with pytest.raises(RequestError, match="ForceWithoutCrossSigning"):
        roots.cross_sign(new, old.secret, serial=8, now=NOW + timedelta(days=1))


def test_old_roots_go_when_their_last_leaf_has():
    old, new = root(), root(name="bbbbbbbb")
    listed, _ = roots.succeeded((old.public,), new, "", now=NOW)
    kept, due = roots.pruned(listed, leaf_ttl_s=3600.0, now=NOW + timedelta(seconds=7199))
    assert kept == listed and due == NOW + timedelta(seconds=7200)
    kept, due = roots.pruned(listed, leaf_ttl_s=3600.0, now=NOW + timedelta(seconds=7200))
    assert [one.id for one in kept] == [new.public.id] and due is None


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"RootCert": "x"}, "must provide a private key when providing a root cert"),
        ({"PrivateKeyType": "ed25519"}, "private key type must be either 'ec' or 'rsa'"),
        ({"PrivateKeyBits": 999}, "EC key length must be one of (224, 256, 384, 521) bits"),
        ({"PrivateKeyType": "rsa", "PrivateKeyBits": 1024}, "RSA key length must be one of"),
        ({"CSRMaxConcurrent": -1}, "CSRMaxConcurrent must be a number of at least 0"),
        ({"RootCertTTL": "1h"}, "root certificate TTL is set but is less than"),
    ],
)
def test_settings_are_refused_in_the_words_of_the_reference(config, text):
    with pytest.raises(RequestError) as refused:
        settings.read(config)
    assert refused.value.text.startswith(f"error configuring provider: {text}")


def test_a_private_key_is_not_shown():
    values = settings.normalise({"private_key": "secret", "leaf_cert_ttl": "24h"})
    assert settings.shown(values)["PrivateKey"] == settings.REDACTED
    assert settings.read(settings.shown(values)).private_key == ""
