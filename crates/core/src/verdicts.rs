//! Verdicts given before, for those who present the same again.

use std::sync::{Arc, Mutex, PoisonError};

use crate::cache::{Cache, Key};
use crate::judged::Judged;
use crate::window::Window;
use crate::x509::UnixSeconds;

/// How long a refusal is remembered at the most.
const REFUSAL_SECONDS: i64 = 10;

/// Bounded in bytes. Refusals cost a client nothing, so they are kept apart: nothing but chains that lead
/// to a trust anchor pushes out verdicts on such.
#[derive(Debug)]
pub(crate) struct Verdicts {
    verified: Mutex<Cache<Held>>,
    refused: Mutex<Cache<Held>>,
}

#[derive(Clone, Debug)]
struct Held {
    judged: Arc<Judged>,
    window: Window,
}

impl Verdicts {
    pub(crate) fn new(verified_bytes: usize, refused_bytes: usize) -> Self {
        Self {
            verified: Mutex::new(Cache::new(verified_bytes)),
            refused: Mutex::new(Cache::new(refused_bytes)),
        }
    }

    pub(crate) fn get(&self, key: &Key<'_>, time: UnixSeconds) -> Option<Arc<Judged>> {
        [&self.verified, &self.refused]
            .into_iter()
            .find_map(|cache| {
                let held = cache
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(key)?;
                held.window.holds(time).then_some(held.judged)
            })
    }

    /// What is remembered for this key until now counts no more.
    pub(crate) fn insert(
        &self,
        key: &Key<'_>,
        judged: &Arc<Judged>,
        mut window: Window,
        time: UnixSeconds,
    ) {
        let cache = if judged.is_verified() {
            &self.verified
        } else {
            window.shorten(time, REFUSAL_SECONDS);
            &self.refused
        };
        let held = Held {
            judged: Arc::clone(judged),
            window,
        };
        cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, held, judged.bytes());
    }
}
