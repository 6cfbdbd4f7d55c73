//! What a search does, told to somebody who watches. Nobody does on the way of a request.

use super::PathFault;
use crate::x509::Certificate;

/// Watches a search. What it sees changes nothing.
pub trait Observer {
    /// The next thing that happened.
    fn see(&mut self, event: Event<'_>);
}

/// Looks away, at no cost.
impl Observer for () {
    fn see(&mut self, _: Event<'_>) {}
}

/// Where a potential issuer comes from; the first is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// It is a trust anchor.
    Anchor,
    /// It is a configured intermediate.
    Configured,
    /// The client presented it.
    Presented,
}

/// One thing that happened in a search. There are at most 200 of each kind, as the search's budget
/// allows. A `path` begins with the end entity.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// A search begins. If all that is wrong may be key purposes, a second one leaves them out.
    Begun {
        /// Whose path is looked for.
        end_entity: &'e Certificate,
        /// Key purposes count.
        purposes: bool,
    },
    /// A certificate has the name of the path's last issuer.
    Tried {
        /// The path below.
        path: &'e [&'e Certificate],
        /// The potential issuer.
        issuer: &'e Certificate,
        /// Where it comes from.
        origin: Origin,
    },
    /// A branch ends here.
    Rejected {
        /// The path so far; it ends with an anchor if the whole of it was looked at.
        path: &'e [&'e Certificate],
        /// The potential issuer that was tried last, if it is what is rejected.
        issuer: Option<&'e Certificate>,
        /// Whose fault it is: 0 is the end entity.
        position: usize,
        /// Why.
        fault: &'e PathFault,
    },
    /// A path is whole and proven.
    Accepted {
        /// The path.
        path: &'e [&'e Certificate],
    },
}
