//! Who verifies signatures, and what of it is remembered.

use core::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use rustls_pki_types::{InvalidSignature, SignatureVerificationAlgorithm};

use crate::cache::{Cache, Key};

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

impl Memory {
    pub(crate) fn new(prepare: Option<Prepare>, link_bytes: usize, key_bytes: usize) -> Self {
        Self {
            links: Mutex::new(Cache::new(link_bytes)),
            keys: Mutex::new(Cache::new(key_bytes)),
            prepare,
        }
    }

    /// The key made ready, if it is or may be now.
    fn prepared(
        &self,
        key_algorithm: &[u8],
        key_bits: &[u8],
        may_prepare: &mut bool,
    ) -> Option<Arc<dyn PreparedKey>> {
        let prepare = self.prepare?;
        let key = Key::new(vec![key_algorithm, key_bits]);
        let keys = || self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let uses = match keys().get(&key) {
            Some(KeyState::Prepared(prepared)) => return Some(prepared),
            Some(KeyState::NotPreparable) => return None,
            Some(KeyState::Seen(uses)) => uses,
            None => 0,
        };
        if uses < USES_BEFORE {
            keys().insert(&key, KeyState::Seen(uses.saturating_add(1)), 0);
            return None;
        }
        if !core::mem::take(may_prepare) {
            return None;
        }
        // Not while others wait for the keys.
        let prepared = prepare(key_algorithm, key_bits);
        let is_kept = prepared.as_ref().is_some_and(|prepared| {
            let state = KeyState::Prepared(Arc::clone(prepared));
            keys().insert(&key, state, prepared.bytes())
        });
        if !is_kept {
            keys().insert(&key, KeyState::NotPreparable, 0);
        }
        prepared
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
    /// `may_prepare`: one search makes one key ready at the most, so that a chain of an attacker's CAs
    /// costs hardly more than an honest one.
    pub(super) fn verify(
        &self,
        algorithm: &dyn SignatureVerificationAlgorithm,
        signed: &Signed<'_>,
        recurs: bool,
        may_prepare: &mut bool,
    ) -> Result<(), InvalidSignature> {
        let Some(memory) = self.memory else {
            return algorithm.verify_signature(signed.key_bits, signed.message, signed.signature);
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
            return Ok(());
        }
        let prepared = memory.prepared(signed.key_algorithm, signed.key_bits, may_prepare);
        prepared
            .and_then(|key| key.verify(signed.algorithm, signed.message, signed.signature))
            .unwrap_or_else(|| {
                algorithm.verify_signature(signed.key_bits, signed.message, signed.signature)
            })?;
        // Only what was proven: nobody but a trusted CA adds anything here.
        if let Some(link) = &link {
            links().insert(link, (), 0);
        }
        Ok(())
    }
}
