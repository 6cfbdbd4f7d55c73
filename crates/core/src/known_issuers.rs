//! Issuers' certificates that were parsed before: clients come and go, and their CAs stay.

use std::sync::{Mutex, PoisonError};

use crate::cache::{Cache, Key};
use crate::x509::Certificate;

/// Bounded in bytes. What is parsed depends on the certificate's bytes alone, and all of them are
/// compared; nothing is trusted for being known.
#[derive(Debug)]
pub(crate) struct KnownIssuers(Mutex<Cache<Certificate>>);

impl KnownIssuers {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Mutex::new(Cache::new(bytes)))
    }

    /// The certificate with these bytes.
    pub(crate) fn get(&self, der: &[u8]) -> Option<Certificate> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(&Key::new(vec![der]))
    }

    /// For certificates of a path that was proven: nobody but a trusted CA adds anything here.
    pub(crate) fn keep<'a>(&self, issuers: impl Iterator<Item = &'a Certificate>) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for issuer in issuers {
            let key = Key::new(vec![issuer.der()]);
            if cache.get(&key).is_none() {
                cache.insert(&key, issuer.clone(), issuer.bytes_held());
            }
        }
    }
}
