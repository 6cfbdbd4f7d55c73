//! RSA PKCS#1 v1.5 and PSS (RFC 8017 8.2.2, 8.1.2; RFC 4055).

use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::Hash;

/// RSASSA-PKCS1-v1_5
#[derive(Debug)]
pub(crate) struct Pkcs1 {
    hash: Hash,
    id: AlgorithmIdentifier,
}

impl Pkcs1 {
    pub(crate) const fn new(hash: Hash, id: AlgorithmIdentifier) -> Self {
        Self { hash, id }
    }
}

impl SignatureVerificationAlgorithm for Pkcs1 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = public_key_from(public_key)?;
        let verified = match self.hash {
            Hash::Sha256 => key.verify(
                Pkcs1v15Sign::new::<Sha256>(),
                &Sha256::digest(message),
                signature,
            ),
            Hash::Sha384 => key.verify(
                Pkcs1v15Sign::new::<Sha384>(),
                &Sha384::digest(message),
                signature,
            ),
            Hash::Sha512 => key.verify(
                Pkcs1v15Sign::new::<Sha512>(),
                &Sha512::digest(message),
                signature,
            ),
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

/// RSASSA-PSS with a salt as long as the digest, MGF1 over the same digest (RFC 4055 3.1).
#[derive(Debug)]
pub(crate) struct Pss {
    hash: Hash,
    id: AlgorithmIdentifier,
}

impl Pss {
    pub(crate) const fn new(hash: Hash, id: AlgorithmIdentifier) -> Self {
        Self { hash, id }
    }
}

impl SignatureVerificationAlgorithm for Pss {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = public_key_from(public_key)?;
        let verified = match self.hash {
            Hash::Sha256 => key.verify(
                rsa::Pss::<Sha256>::new(),
                &Sha256::digest(message),
                signature,
            ),
            Hash::Sha384 => key.verify(
                rsa::Pss::<Sha384>::new(),
                &Sha384::digest(message),
                signature,
            ),
            Hash::Sha512 => key.verify(
                rsa::Pss::<Sha512>::new(),
                &Sha512::digest(message),
                signature,
            ),
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

/// RFC 8017 A.1.1; moduli of 1024 to 8192 bits and exponents below 2^33. Profiles ask for less.
fn public_key_from(key_bits: &[u8]) -> Result<RsaPublicKey, InvalidSignature> {
    RsaPublicKey::from_pkcs1_der(key_bits).map_err(|_| InvalidSignature)
}
