//! What the policies say of one request, and how Google logs it.

use super::facts::Unfit;
use super::{Action, AuthzPolicies};

/// Google, authorization policy logs: no DENY policy matches.
pub const ALLOWED_AS_NO_DENY_POLICIES_MATCHED_REQUEST: &str =
    "allowed_as_no_deny_policies_matched_request";
/// Google, authorization policy logs: there are ALLOW policies and none matches.
pub const DENIED_AS_NO_ALLOW_POLICIES_MATCHED_REQUEST: &str =
    "denied_as_no_allow_policies_matched_request";
/// Google, logging page: `statusDetails`, and `details` in `proxyStatus`, of every refusal.
pub const DENIED_BY_AUTHZ_POLICY: &str = "denied_by_authz_policy";

/// The outcome for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    ground: Ground<'a>,
    policies: Vec<PolicyInfo<'a>>,
}

/// One entry of `authzPolicyInfo.policies`. Google writes one for the DENY policies together and,
/// unless one of them matched, one for the ALLOW policies together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyInfo<'a> {
    /// The policy that matches; none if none does.
    pub name: Option<&'a str>,
    /// What came of it.
    pub result: PolicyResult,
    /// In the name's place if no policy matches.
    pub details: Option<&'static str>,
}

/// `authzPolicyInfo.result` and `authzPolicyInfo.policies[].result`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyResult {
    /// `ALLOWED`
    Allowed,
    /// `DENIED`
    Denied,
}

impl PolicyResult {
    /// The string in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "ALLOWED",
            Self::Denied => "DENIED",
        }
    }
}

/// What decided. Policies by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground<'a> {
    /// This DENY policy matches.
    Denied(&'a str),
    /// This ALLOW policy matches.
    Allowed(&'a str),
    /// There are ALLOW policies, and none matches.
    NoneAllows,
    /// There is no ALLOW policy.
    NoneDenies,
    /// Something that this policy looks at is unfit to be judged. Google documents no entry for
    /// it: the policy is named as the one that refuses.
    Unfit { policy: &'a str, unfit: Unfit },
}

impl<'a> Verdict<'a> {
    pub(super) fn new(ground: Ground<'a>, configured: &AuthzPolicies) -> Self {
        let refused_by = |name| PolicyInfo {
            name: Some(name),
            result: PolicyResult::Denied,
            details: None,
        };
        let no_deny = configured.with(Action::Deny).next().map(|_| PolicyInfo {
            name: None,
            result: PolicyResult::Allowed,
            details: Some(ALLOWED_AS_NO_DENY_POLICIES_MATCHED_REQUEST),
        });
        let (first, second) = match ground {
            Ground::Denied(policy) | Ground::Unfit { policy, .. } => {
                (Some(refused_by(policy)), None)
            }
            Ground::Allowed(policy) => {
                let allowed_by = PolicyInfo {
                    name: Some(policy),
                    result: PolicyResult::Allowed,
                    details: None,
                };
                (no_deny, Some(allowed_by))
            }
            Ground::NoneAllows => {
                let no_allow = PolicyInfo {
                    name: None,
                    result: PolicyResult::Denied,
                    details: Some(DENIED_AS_NO_ALLOW_POLICIES_MATCHED_REQUEST),
                };
                (no_deny, Some(no_allow))
            }
            Ground::NoneDenies => (no_deny, None),
        };
        Self {
            ground,
            policies: first.into_iter().chain(second).collect(),
        }
    }

    /// The request goes on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.result() == PolicyResult::Allowed
    }

    /// `authzPolicyInfo.result`
    #[must_use]
    pub fn result(&self) -> PolicyResult {
        match self.ground {
            Ground::Allowed(_) | Ground::NoneDenies => PolicyResult::Allowed,
            Ground::Denied(_) | Ground::NoneAllows | Ground::Unfit { .. } => PolicyResult::Denied,
        }
    }

    /// `authzPolicyInfo.policies`
    #[must_use]
    pub fn policies(&self) -> &[PolicyInfo<'a>] {
        &self.policies
    }

    /// `statusDetails`, if the request is refused.
    #[must_use]
    pub fn status_details(&self) -> Option<&'static str> {
        (!self.is_allowed()).then_some(DENIED_BY_AUTHZ_POLICY)
    }

    /// The name of the policy that decided, if it was one.
    #[must_use]
    pub fn policy(&self) -> Option<&'a str> {
        match self.ground {
            Ground::Denied(policy) | Ground::Allowed(policy) | Ground::Unfit { policy, .. } => {
                Some(policy)
            }
            Ground::NoneAllows | Ground::NoneDenies => None,
        }
    }

    /// Why, in words. One line, not much longer than a policy's name, none of the client's own text.
    #[must_use]
    pub fn detail(&self) -> String {
        match self.ground {
            Ground::Denied(policy) => format!("DENY policy {policy} matches"),
            Ground::Allowed(policy) => format!("ALLOW policy {policy} matches"),
            Ground::NoneAllows => "no ALLOW policy matches".to_owned(),
            Ground::NoneDenies => "no DENY policy matches, and there is no ALLOW policy".to_owned(),
            Ground::Unfit { policy, unfit } => format!("policy {policy} cannot be judged: {unfit}"),
        }
    }
}
