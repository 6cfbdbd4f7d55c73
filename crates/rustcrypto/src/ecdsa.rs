//! ECDSA over the NIST curves (RFC 5758 3.2, FIPS 186-5).

use ::p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

use crate::Hash;

impl Hash {
    pub(crate) fn ecdsa_id(self) -> AlgorithmIdentifier {
        match self {
            Self::Sha256 => alg_id::ECDSA_SHA256,
            Self::Sha384 => alg_id::ECDSA_SHA384,
            Self::Sha512 => alg_id::ECDSA_SHA512,
        }
    }

    /// The digest, with zeros in front up to `length`: the same integer (FIPS 186-5 6.4), which the
    /// curve crates take only at half the field's length or more.
    pub(crate) fn digest_at_least(self, message: &[u8], length: usize) -> Vec<u8> {
        let digest = self.digest(message);
        let missing = length.saturating_sub(digest.len());
        let mut padded = vec![0; missing];
        padded.extend(digest);
        padded
    }
}

macro_rules! curve {
    ($name:ident, $krate:ident, $id:ident, $field_bytes:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub(crate) struct $name(pub(crate) Hash);

        impl SignatureVerificationAlgorithm for $name {
            fn verify_signature(
                &self,
                public_key: &[u8],
                message: &[u8],
                signature: &[u8],
            ) -> Result<(), InvalidSignature> {
                let key = ::$krate::ecdsa::VerifyingKey::from_sec1_bytes(public_key)
                    .map_err(|_| InvalidSignature)?;
                let signature = ::$krate::ecdsa::Signature::from_der(signature)
                    .map_err(|_| InvalidSignature)?;
                let digest = self.0.digest_at_least(message, $field_bytes);
                key.verify_prehash(&digest, &signature)
                    .map_err(|_| InvalidSignature)
            }

            fn public_key_alg_id(&self) -> AlgorithmIdentifier {
                alg_id::$id
            }

            fn signature_alg_id(&self) -> AlgorithmIdentifier {
                self.0.ecdsa_id()
            }
        }
    };
}

curve!(P256, p256, ECDSA_P256, 32, "secp256r1");
curve!(P384, p384, ECDSA_P384, 48, "secp384r1");
curve!(P521, p521, ECDSA_P521, 66, "secp521r1");
