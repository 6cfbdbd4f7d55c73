//! Who verifies signatures, and what of it is remembered.

use core::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls_pki_types::{InvalidSignature, SignatureVerificationAlgorithm};

use crate::cache::{Cache, Key};
use crate::x509::Certificate;

/// Signature algorithms that may be used.
pub type Algorithms = &'static [&'static dyn SignatureVerificationAlgorithm];

/// Makes ready what a public key's verifications have in common: from the content octets of its
/// AlgorithmIdentifier and its bits. `None`: this key gains nothing by it.
pub type Prepare = fn(&[u8], &[u8]) -> Option<Arc<dyn PreparedKey>>;

/// A public key whose verifications cost less than those of its bits.
pub trait PreparedKey: Debug + Send + Sync {
    /// Verifies a signature of the algorithm with this AlgorithmIdentifier (content octets).
    /// `None`: not this one's business.
    fn verify(
        &self,
        algorithm_id: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<Result<(), InvalidSignature>>;

    /// What it holds.
    fn bytes(&self) -> usize;
}

/// Where signatures are verified.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// What it can do.
    pub algorithms: Algorithms,
    /// What it can make ready, if anything.
    pub prepare: Option<Prepare>,
}

impl From<Algorithms> for Backend {
    fn from(algorithms: Algorithms) -> Self {
        Self {
            algorithms,
            prepare: None,
        }
    }
}

/// What is remembered of one backend's work, bounded in bytes. It never changes a verdict.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Signatures that were verified, with all that was signed.
    links: Mutex<Cache<()>>,
    keys: Mutex<Cache<KeyState>>,
    prepare: Option<Prepare>,
}

/// What is known about an issuer's key.
#[derive(Clone, Debug)]
enum KeyState {
    /// Used so many times.
    Seen(u8),
    Prepared(Arc<dyn PreparedKey>),
    NotPreparable,
}

/// To make a key ready costs as much as three or four verifications: it is done for keys that recur.
const USES_BEFORE: u8 = 3;

/// How a good signature was found to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It was verified before.
    Remembered,
    /// It was verified.
    Verified,
}

impl Memory {
    pub(crate) fn new(prepare: Option<Prepare>, link_bytes: usize, key_bytes: usize) -> Self {
        Self {
            links: Mutex::new(Cache::new(link_bytes)),
            keys: Mutex::new(Cache::new(key_bytes)),
            prepare,
        }
    }

    fn keys(&self) -> MutexGuard<'_, Cache<KeyState>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepared(&self, key_algorithm: &[u8], key_bits: &[u8]) -> Option<Arc<dyn PreparedKey>> {
        self.prepare?;
        match self.keys().get(&Key::new(vec![key_algorithm, key_bits]))? {
            KeyState::Prepared(prepared) => Some(prepared),
            KeyState::Seen(_) | KeyState::NotPreparable => None,
        }
    }

    /// Counts a use of a key, and makes it ready if it was used often enough and may be. Whether it was
    /// made ready.
    fn met(&self, key_algorithm: &[u8], key_bits: &[u8], may_prepare: bool) -> bool {
        let Some(prepare) = self.prepare else {
            return false;
        };
        let key = Key::new(vec![key_algorithm, key_bits]);
        let uses = match self.keys().get(&key) {
            Some(KeyState::Prepared(_) | KeyState::NotPreparable) => return false,
            Some(KeyState::Seen(uses)) => uses.saturating_add(1),
            None => 1,
        };
        if uses < USES_BEFORE || !may_prepare {
            self.keys().insert(&key, KeyState::Seen(uses), 0);
            return false;
        }
        // Not while others wait for the keys.
        let prepared = prepare(key_algorithm, key_bits);
        let is_kept = prepared.is_some_and(|prepared| {
            let bytes = prepared.bytes();
            self.keys()
                .insert(&key, KeyState::Prepared(prepared), bytes)
        });
        if !is_kept {
            self.keys().insert(&key, KeyState::NotPreparable, 0);
        }
        true
    }
}

/// A backend, with or without a memory.
#[derive(Clone, Copy, Debug)]
pub struct Signatures<'m> {
    algorithms: Algorithms,
    memory: Option<&'m Memory>,
}

impl From<Algorithms> for Signatures<'static> {
    fn from(algorithms: Algorithms) -> Self {
        Self {
            algorithms,
            memory: None,
        }
    }
}

/// One signature and what it is about. Algorithms are the content octets of AlgorithmIdentifiers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) key_algorithm: &'a [u8],
    pub(super) key_bits: &'a [u8],
    pub(super) algorithm: &'a [u8],
    pub(super) message: &'a [u8],
    pub(super) signature: &'a [u8],
}

impl<'m> Signatures<'m> {
    pub(crate) fn new(backend: &Backend, memory: Option<&'m Memory>) -> Self {
        Self {
            algorithms: backend.algorithms,
            memory,
        }
    }

    pub(super) fn algorithm(
        &self,
        signed: &Signed<'_>,
    ) -> Option<&'static dyn SignatureVerificationAlgorithm> {
        let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
            algorithm.signature_alg_id().as_ref() == signed.algorithm
                && algorithm.public_key_alg_id().as_ref() == signed.key_algorithm
        };
        self.algorithms.iter().find(fits).copied()
    }

    /// `recurs`: the same signature is likely to be met again, below another end entity.
    pub(super) fn verify(
        &self,
        algorithm: &dyn SignatureVerificationAlgorithm,
        signed: &Signed<'_>,
        recurs: bool,
    ) -> Result<Proof, InvalidSignature> {
        let plainly =
            || algorithm.verify_signature(signed.key_bits, signed.message, signed.signature);
        let Some(memory) = self.memory else {
            return plainly().map(|()| Proof::Verified);
        };
        let link = recurs.then(|| {
            Key::new(vec![
                signed.key_algorithm,
                signed.key_bits,
                signed.algorithm,
                signed.message,
                signed.signature,
            ])
        });
        let links = || memory.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = &link
            && links().get(link).is_some()
        {
            return Ok(Proof::Remembered);
        }
        let prepared = memory.prepared(signed.key_algorithm, signed.key_bits);
        prepared
            .and_then(|key| key.verify(signed.algorithm, signed.message, signed.signature))
            .unwrap_or_else(plainly)?;
        // Only what was proven: nobody but a trusted CA adds anything here.
        if let Some(link) = &link {
            links().insert(link, (), 0);
        }
        Ok(Proof::Verified)
    }

    /// These issuers, of a path that was proven, had signatures to verify with their keys. One key is
    /// made ready at the most.
    pub(super) fn met<'a>(
        &self,
        issuers: impl Iterator<Item = &'a Certificate>,
        mut may_prepare: bool,
    ) {
        let Some(memory) = self.memory else {
            return;
        };
        for issuer in issuers {
            may_prepare &= !memory.met(issuer.key_algorithm(), issuer.key_bits(), may_prepare);
        }
    }
}
