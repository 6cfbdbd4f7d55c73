//! RSA PKCS#1 v1.5 and PSS (RFC 8017 8.2.2, 8.1.2; RFC 4055).

use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::{Pkcs1v15Sign, Pss, RsaPublicKey};
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use sha2::{Sha256, Sha384, Sha512};

use crate::{
    Hash, RSA_PKCS1_SHA256_ABSENT_PARAMETERS, RSA_PKCS1_SHA384_ABSENT_PARAMETERS,
    RSA_PKCS1_SHA512_ABSENT_PARAMETERS,
};

/// How the digest is encoded before it is signed.
#[derive(Clone, Copy, Debug)]
enum Scheme {
    /// RSASSA-PKCS1-v1_5
    Pkcs1,
    /// RSASSA-PSS with a salt as long as the digest, MGF1 over the same digest (RFC 4055 3.1).
    Pss,
}

/// One scheme with one digest.
#[derive(Debug)]
pub(crate) struct Rsa {
    scheme: Scheme,
    hash: Hash,
    id: AlgorithmIdentifier,
}

impl Rsa {
    pub(crate) const fn pkcs1(hash: Hash, id: AlgorithmIdentifier) -> Self {
        let scheme = Scheme::Pkcs1;
        Self { scheme, hash, id }
    }

    pub(crate) const fn pss(hash: Hash, id: AlgorithmIdentifier) -> Self {
        let scheme = Scheme::Pss;
        Self { scheme, hash, id }
    }
}

impl SignatureVerificationAlgorithm for Rsa {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        // RFC 8017 A.1.1; moduli of 1024 to 8192 bits and exponents below 2^33. Profiles ask for
        // less.
        let key = RsaPublicKey::from_pkcs1_der(public_key).map_err(|_| InvalidSignature)?;
        let digest = self.hash.digest(message);
        let verified = match (self.scheme, self.hash) {
            (Scheme::Pkcs1, Hash::Sha256) => {
                key.verify(Pkcs1v15Sign::new::<Sha256>(), &digest, signature)
            }
            (Scheme::Pkcs1, Hash::Sha384) => {
                key.verify(Pkcs1v15Sign::new::<Sha384>(), &digest, signature)
            }
            (Scheme::Pkcs1, Hash::Sha512) => {
                key.verify(Pkcs1v15Sign::new::<Sha512>(), &digest, signature)
            }
            (Scheme::Pss, Hash::Sha256) => key.verify(Pss::<Sha256>::new(), &digest, signature),
            (Scheme::Pss, Hash::Sha384) => key.verify(Pss::<Sha384>::new(), &digest, signature),
            (Scheme::Pss, Hash::Sha512) => key.verify(Pss::<Sha512>::new(), &digest, signature),
        };
        verified.map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.id
    }
}

/// The digest of the PKCS#1 v1.5 algorithm with this AlgorithmIdentifier (content octets).
pub(crate) fn pkcs1_hash(algorithm_id: &[u8]) -> Option<Hash> {
    let ids = |hash| match hash {
        Hash::Sha256 => [alg_id::RSA_PKCS1_SHA256, RSA_PKCS1_SHA256_ABSENT_PARAMETERS],
        Hash::Sha384 => [alg_id::RSA_PKCS1_SHA384, RSA_PKCS1_SHA384_ABSENT_PARAMETERS],
        Hash::Sha512 => [alg_id::RSA_PKCS1_SHA512, RSA_PKCS1_SHA512_ABSENT_PARAMETERS],
    };
    let is = |hash: &Hash| ids(*hash).iter().any(|id| id.as_ref() == algorithm_id);
    Hash::ALL.into_iter().find(is)
}

/// What stands before the digest (RFC 8017 9.2, note 1).
pub(crate) fn digest_info(hash: Hash) -> [u8; 19] {
    let (algorithm, length, whole) = match hash {
        Hash::Sha256 => (1, 32, 49),
        Hash::Sha384 => (2, 48, 65),
        Hash::Sha512 => (3, 64, 81),
    };
    [
        0x30, whole, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
        algorithm, 0x05, 0x00, 0x04, length,
    ]
}
