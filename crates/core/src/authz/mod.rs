//! Who may ask for what: Google's AuthzPolicy (`networksecurity.googleapis.com/v1`).
//!
//! Rules of `authz_policy.proto` and of the authorization policy overview: any rule of a policy, in
//! a rule `from` and `to`, in each of these all fields that are given, in a field any entry but
//! every header. A DENY policy that matches refuses the request. Then, if there are ALLOW policies,
//! one of them must match.
//!
//! A principal is that of a *verified* certificate. Without one it is the empty value, which no
//! pattern matches: a principal in `sources` does not match then, and one in `notSources` does.
//!
//! Doubt falls to the side of refusing, so that a pattern may be read more widely where a match of
//! it keeps out than where it lets in: the client writes host, path, headers and certificate.

mod compile;
mod facts;
mod host;
mod operation;
pub mod resources;
mod source;
#[cfg(test)]
mod tests;
mod text;
mod verdict;

use core::net::IpAddr;
use std::collections::BTreeSet;

use self::facts::{Attribute, Facts};
use self::operation::Operation;
use self::source::Source;
use self::verdict::Ground;
use crate::client_cert::ClientCert;
use crate::headers::FoldedName;

pub(crate) use source::{IpBlock, IpBlockFault};
pub use verdict::{
    ALLOWED_AS_NO_DENY_POLICIES_MATCHED_REQUEST, DENIED_AS_NO_ALLOW_POLICIES_MATCHED_REQUEST,
    DENIED_BY_AUTHZ_POLICY, PolicyInfo, PolicyResult, Verdict,
};

/// Whether `uri-host [":" port]` is written in a way that everybody reads alike: what policies judge is
/// then what a resolver resolves.
#[must_use]
pub fn names_one_host(host: &[u8]) -> bool {
    host::Host::read(host).is_some()
}

/// A request, as it is forwarded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a [u8],
    /// `:authority`, or `Host` in HTTP/1.1; empty if there is none.
    pub host: &'a [u8],
    /// The path with its query; empty for CONNECT.
    pub path: &'a [u8],
    /// All headers, one entry for each line. Pseudo-headers are not looked at.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// The address at the other end of the connection, from where no client can forge it.
    pub direct_peer: Option<IpAddr>,
}

/// Whether an adapter has the direct peer's address from where no client can forge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectPeer {
    /// It has.
    Known,
    /// It has not, and policies with `ipBlocks` are refused.
    Unknown,
}

/// What a configuration's policies are compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// Where policies with `ipBlocks` would get their address from.
    pub direct_peer: DirectPeer,
    /// Certificates are validated; without that there is no principal.
    pub validates: bool,
    /// Names under which requests lose their headers before policies look.
    pub removed: &'a BTreeSet<FoldedName>,
}

/// All policies of a configuration.
#[derive(Clone, Debug, Default)]
pub struct AuthzPolicies {
    policies: Vec<Policy>,
    /// What policies look at, sorted, with the name of the first that does, DENY policies before the others.
    uses: Vec<(Attribute, String)>,
}

/// One policy.
#[derive(Clone, Debug)]
pub struct Policy {
    name: String,
    action: Action,
    rules: Vec<Rule>,
    uses: Vec<Attribute>,
    dodged_by_no_certificate: bool,
}

/// What a policy does with a request that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Allow,
    /// It is refused.
    Deny,
}

/// One of `httpRules`. What is not given matches.
#[derive(Clone, Debug)]
struct Rule {
    from: Option<Negatable<Source>>,
    to: Option<Negatable<Operation>>,
}

/// `sources` or `notSources`, `operations` or `notOperations`: the whole match is negated.
#[derive(Clone, Debug)]
struct Negatable<T> {
    is_negated: bool,
    inner: T,
}

impl AuthzPolicies {
    fn new(policies: Vec<Policy>) -> Self {
        let mut all = Self {
            policies,
            uses: Vec::new(),
        };
        let mut uses: Vec<(Attribute, String)> = Vec::new();
        for policy in all.with(Action::Deny).chain(all.with(Action::Allow)) {
            for attribute in &policy.uses {
                if let Err(at) = uses.binary_search_by_key(attribute, |(known, _)| *known) {
                    uses.insert(at, (*attribute, policy.name.clone()));
                }
            }
        }
        all.uses = uses;
        all
    }

    /// The policies, in the order of the configuration.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter()
    }

    /// There is no policy, and everything is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// There is an ALLOW policy, so that a request which none matches is refused.
    #[must_use]
    pub fn has_allow(&self) -> bool {
        self.with(Action::Allow).next().is_some()
    }

    /// Judges one request.
    ///
    /// What any policy looks at must be fit to be looked at, whichever policy decides: an attribute
    /// over its size limit, several common names, a malformed host, an unknown direct peer where a
    /// match of it would keep out.
    #[must_use]
    pub fn evaluate(&self, request: &Request<'_>, client_cert: &ClientCert) -> Verdict<'_> {
        let mut facts = Facts::new(request);
        for (attribute, policy) in &self.uses {
            if let Err(unfit) = facts.read(*attribute, client_cert) {
                return Verdict::new(Ground::Unfit { policy, unfit }, self);
            }
        }
        let first = |action| self.with(action).find(|policy| policy.matches(&facts));
        let ground = if let Some(policy) = first(Action::Deny) {
            Ground::Denied(&policy.name)
        } else if let Some(policy) = first(Action::Allow) {
            Ground::Allowed(&policy.name)
        } else if self.has_allow() {
            Ground::NoneAllows
        } else {
            Ground::NoneDenies
        };
        Verdict::new(ground, self)
    }

    fn with(&self, action: Action) -> impl Iterator<Item = &Policy> {
        self.policies
            .iter()
            .filter(move |policy| policy.action == action)
    }
}

impl Policy {
    /// The name, as configured.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The action.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// A client gets round a rule of this policy by sending no certificate, unless certificates are
    /// compulsory: a principal keeps out, being a source of a DENY policy or in `notSources` of an
    /// ALLOW policy. `notSources` of a DENY policy refuses whoever has no certificate.
    #[must_use]
    pub fn dodged_by_no_certificate(&self) -> bool {
        self.dodged_by_no_certificate
    }

    fn matches(&self, facts: &Facts<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(facts))
    }
}

impl Rule {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        let from = self
            .from
            .as_ref()
            .is_none_or(|from| from.inner.matches(facts) != from.is_negated);
        let to = || {
            self.to
                .as_ref()
                .is_none_or(|to| to.inner.matches(facts) != to.is_negated)
        };
        from && to()
    }
}
