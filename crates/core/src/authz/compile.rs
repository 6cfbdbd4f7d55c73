//! From Google's resource to what a request needs, with Google's limits. Whatever would make a
//! policy match by accident, or never, is refused here.

use std::collections::BTreeSet;

use super::facts::Attribute;
use super::host::HostMatch;
use super::operation::{HeaderMatch, Operation};
use super::resources::{self, PrincipalSelector, StringMatch, Unsupported};
use super::source::{IpBlock, IpBlockFault, PrincipalMatch, Selector, Source};
use super::text::{Case, Effect, Pattern, TextMatch};
use super::{Action, AuthzPolicies, DirectPeer, Negatable, Policy, Rule, Setting};
use crate::config::{ConfigError, at_most};
use crate::headers::{FoldedName, is_token};
use crate::limits::{
    AUTHZ_HEADERS, AUTHZ_HOSTS, AUTHZ_IP_BLOCKS, AUTHZ_METHODS, AUTHZ_OPERATIONS, AUTHZ_PATHS,
    AUTHZ_PATTERN_BYTES, AUTHZ_POLICIES, AUTHZ_PRINCIPALS, AUTHZ_RULES, AUTHZ_SOURCES,
    RESOURCE_ID_BYTES, RESOURCE_NAME_BYTES,
};

/// The list's path in the document.
const LIST: &str = "authzPolicies";

impl AuthzPolicies {
    /// Compiles the policies of a configuration.
    ///
    /// # Errors
    /// The first field that is wrong, or that is not supported: none is passed over.
    pub fn compile(
        policies: &[resources::AuthzPolicy],
        setting: Setting<'_>,
    ) -> Result<Self, ConfigError> {
        at_most(
            format_args!("{LIST}"),
            policies.len(),
            AUTHZ_POLICIES,
            "policies",
        )?;
        let mut ids = BTreeSet::new();
        let mut compiled = Vec::with_capacity(policies.len());
        for (index, policy) in policies.iter().enumerate() {
            let path = format!("{LIST}[{index}]");
            if !ids.insert(check_name(&path, &policy.name)?) {
                return Err(ConfigError::new(
                    format!("{path}.name"),
                    "is the name of an earlier policy",
                ));
            }
            compiled.push(PolicyCompiler::new(policy, &path, setting)?.policy(policy, &path)?);
        }
        Ok(Self::new(compiled))
    }
}

/// The name's last part, which identifies the policy.
fn check_name<'n>(path: &str, name: &'n str) -> Result<&'n str, ConfigError> {
    let path = format!("{path}.name");
    let id = name.rsplit('/').next().unwrap_or_default();
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !(1..=RESOURCE_ID_BYTES).contains(&id.len()) || !id.bytes().all(is_id) {
        return Err(ConfigError::new(
            path,
            format!("does not end in 1 to {RESOURCE_ID_BYTES} letters, digits, \"-\" and \"_\""),
        ));
    }
    // It is repeated in logs.
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::new(
            path,
            "holds a space or what is not printable ASCII",
        ));
    }
    at_most(
        format_args!("{path}"),
        name.len(),
        RESOURCE_NAME_BYTES,
        "bytes",
    )?;
    Ok(id)
}

fn supported(path: &str, field: &str, value: &Unsupported) -> Result<(), ConfigError> {
    match value {
        None => Ok(()),
        Some(_) => Err(ConfigError::new(
            format!("{path}.{field}"),
            "is not supported",
        )),
    }
}

/// One policy while it is read: what is counted over all its rules, and what they look at.
struct PolicyCompiler<'s> {
    action: Action,
    setting: Setting<'s>,
    counts: Counts,
    uses: Vec<Attribute>,
    dodged_by_no_certificate: bool,
}

/// `authz_policy.proto` limits them for each policy, not for each list.
#[derive(Default)]
struct Counts {
    principals: usize,
    ip_blocks: usize,
    hosts: usize,
    paths: usize,
    methods: usize,
    headers: usize,
}

/// Counts a list, whose path is where the policy has too many.
fn count(
    path: &str,
    so_far: &mut usize,
    more: usize,
    limit: usize,
    what: &str,
) -> Result<(), ConfigError> {
    *so_far = so_far.saturating_add(more);
    at_most(
        format_args!("{path}"),
        *so_far,
        limit,
        &format!("{what} in this policy"),
    )
}

impl<'s> PolicyCompiler<'s> {
    fn new(
        policy: &resources::AuthzPolicy,
        path: &str,
        setting: Setting<'s>,
    ) -> Result<Self, ConfigError> {
        let wrong_action = |reason| Err(ConfigError::new(format!("{path}.action"), reason));
        let action = match policy.action {
            resources::Action::Allow => Action::Allow,
            resources::Action::Deny => Action::Deny,
            resources::Action::Custom => return wrong_action("CUSTOM is not supported"),
            resources::Action::AuthzActionUnspecified => {
                return wrong_action("must be given: ALLOW or DENY");
            }
        };
        Ok(Self {
            action,
            setting,
            counts: Counts::default(),
            uses: Vec::new(),
            dodged_by_no_certificate: false,
        })
    }

    fn policy(
        mut self,
        policy: &resources::AuthzPolicy,
        path: &str,
    ) -> Result<Policy, ConfigError> {
        supported(path, "customProvider", &policy.custom_provider)?;
        supported(path, "networkRules", &policy.network_rules)?;
        if policy.policy_profile == resources::PolicyProfile::ContentAuthz {
            return Err(ConfigError::new(
                format!("{path}.policyProfile"),
                "CONTENT_AUTHZ is not supported",
            ));
        }
        let rules_path = format!("{path}.httpRules");
        // `authz_policy.proto`: ALLOW and DENY need at least one.
        if policy.http_rules.is_empty() {
            return Err(ConfigError::new(rules_path, "must hold at least one rule"));
        }
        at_most(
            format_args!("{rules_path}"),
            policy.http_rules.len(),
            AUTHZ_RULES,
            "rules",
        )?;
        let mut rules = Vec::with_capacity(policy.http_rules.len());
        for (index, rule) in policy.http_rules.iter().enumerate() {
            rules.push(self.rule(rule, &format!("{rules_path}[{index}]"))?);
        }
        Ok(Policy {
            name: policy.name.clone(),
            action: self.action,
            rules,
            uses: self.uses,
            dodged_by_no_certificate: self.dodged_by_no_certificate,
        })
    }

    fn rule(&mut self, rule: &resources::HttpRule, path: &str) -> Result<Rule, ConfigError> {
        supported(path, "when", &rule.when)?;
        let from = match &rule.from {
            None => None,
            Some(from) => {
                let (path, source, is_negated) = only_entry(
                    &format!("{path}.from"),
                    ("sources", &from.sources),
                    ("notSources", &from.not_sources),
                    AUTHZ_SOURCES,
                )?;
                let inner = self.source(source, &path, self.effect(is_negated))?;
                Some(Negatable { is_negated, inner })
            }
        };
        let to = match &rule.to {
            None => None,
            Some(to) => {
                let (path, operation, is_negated) = only_entry(
                    &format!("{path}.to"),
                    ("operations", &to.operations),
                    ("notOperations", &to.not_operations),
                    AUTHZ_OPERATIONS,
                )?;
                let inner = self.operation(operation, &path, self.effect(is_negated))?;
                Some(Negatable { is_negated, inner })
            }
        };
        Ok(Rule { from, to })
    }

    fn effect(&self, is_negated: bool) -> Effect {
        match (self.action, is_negated) {
            (Action::Allow, false) | (Action::Deny, true) => Effect::LetsIn,
            (Action::Allow, true) | (Action::Deny, false) => Effect::KeepsOut,
        }
    }

    fn source(
        &mut self,
        source: &resources::Source,
        path: &str,
        effect: Effect,
    ) -> Result<Source, ConfigError> {
        supported(path, "resources", &source.resources)?;
        if source.principals.is_empty() && source.ip_blocks.is_empty() {
            return Err(ConfigError::new(
                path,
                "says nothing, and would match every request",
            ));
        }
        Ok(Source {
            principals: self.principals(source, path, effect)?,
            ip_blocks: self.ip_blocks(source, path, effect)?,
        })
    }

    fn principals(
        &mut self,
        source: &resources::Source,
        path: &str,
        effect: Effect,
    ) -> Result<Vec<PrincipalMatch>, ConfigError> {
        let list = format!("{path}.principals");
        let so_far = &mut self.counts.principals;
        let more = source.principals.len();
        count(&list, so_far, more, AUTHZ_PRINCIPALS, "principals")?;
        if more > 0 && !self.setting.validates {
            return Err(ConfigError::new(
                list,
                "would match nobody: certificates are validated only with trustConfig",
            ));
        }
        self.dodged_by_no_certificate |= more > 0 && effect == Effect::KeepsOut;
        let mut principals = Vec::with_capacity(more);
        for (index, principal) in source.principals.iter().enumerate() {
            let (selector, attribute) = match principal.principal_selector {
                PrincipalSelector::PrincipalSelectorUnspecified
                | PrincipalSelector::ClientCertUriSan => (Selector::UriSan, Attribute::UriSans),
                PrincipalSelector::ClientCertDnsNameSan => {
                    (Selector::DnsNameSan, Attribute::DnsSans)
                }
                PrincipalSelector::ClientCertCommonName => {
                    (Selector::CommonName, Attribute::CommonName)
                }
            };
            self.uses.push(attribute);
            let path = format!("{list}[{index}].principal");
            let (kind, text) = pattern(&principal.principal, &path)?;
            // Ours: two spellings of one name (RFC 4343, RFC 3986 6.2.2.1, RFC 5280 7.1) are one client,
            // who must not get in by asking for a certificate with the other.
            let keeps_out = effect == Effect::KeepsOut;
            let case = Case::new(principal.principal.ignore_case || keeps_out, effect);
            principals.push(PrincipalMatch {
                selector,
                text: TextMatch::new(kind.pattern(), text, case),
                whole_name: keeps_out,
            });
        }
        Ok(principals)
    }

    fn ip_blocks(
        &mut self,
        source: &resources::Source,
        path: &str,
        effect: Effect,
    ) -> Result<Vec<IpBlock>, ConfigError> {
        let list = format!("{path}.ipBlocks");
        let so_far = &mut self.counts.ip_blocks;
        let more = source.ip_blocks.len();
        count(&list, so_far, more, AUTHZ_IP_BLOCKS, "IP blocks")?;
        if more > 0 && self.setting.direct_peer == DirectPeer::Unknown {
            return Err(ConfigError::new(
                list,
                "the direct peer's address is not known here (source.address follows \
                 X-Forwarded-For and can be forged); source.connection.directPeerAddress provides \
                 it",
            ));
        }
        if more > 0 && effect == Effect::KeepsOut {
            self.uses.push(Attribute::DirectPeer);
        }
        let read = |(index, block): (usize, &resources::IpBlock)| {
            IpBlock::read(&block.prefix, block.length).map_err(|fault| {
                let (field, reason) = match fault {
                    IpBlockFault::NotAnAddress => {
                        ("prefix", "is not an IPv4 or IPv6 address".to_owned())
                    }
                    IpBlockFault::Mapped => (
                        "prefix",
                        "is an IPv4 address in IPv6 form: write it as IPv4".to_owned(),
                    ),
                    IpBlockFault::Length { bits } => {
                        ("length", format!("is not between 0 and {bits}"))
                    }
                    IpBlockFault::HostBits => (
                        "prefix",
                        format!("has bits set behind the first {}", block.length),
                    ),
                };
                ConfigError::new(format!("{list}[{index}].{field}"), reason)
            })
        };
        source.ip_blocks.iter().enumerate().map(read).collect()
    }

    fn operation(
        &mut self,
        operation: &resources::Operation,
        path: &str,
        effect: Effect,
    ) -> Result<Operation, ConfigError> {
        supported(path, "mcp", &operation.mcp)?;
        supported(path, "snis", &operation.snis)?;
        let says_nothing = operation.header_set.is_none()
            && operation.hosts.is_empty()
            && operation.paths.is_empty()
            && operation.methods.is_empty();
        if says_nothing {
            return Err(ConfigError::new(
                path,
                "says nothing, and would match every request",
            ));
        }
        Ok(Operation {
            effect,
            hosts: self.hosts(operation, path, effect)?,
            paths: self.paths(operation, path, effect)?,
            methods: self.methods(operation, path)?,
            headers: match &operation.header_set {
                Some(header_set) => {
                    self.headers(header_set, &format!("{path}.headerSet.headers"), effect)?
                }
                None => Vec::new(),
            },
        })
    }

    fn hosts(
        &mut self,
        operation: &resources::Operation,
        path: &str,
        effect: Effect,
    ) -> Result<Vec<HostMatch>, ConfigError> {
        let list = format!("{path}.hosts");
        let more = operation.hosts.len();
        count(&list, &mut self.counts.hosts, more, AUTHZ_HOSTS, "hosts")?;
        if more > 0 {
            self.uses.push(Attribute::Host);
        }
        let read = |(index, host): (usize, &StringMatch)| {
            let path = format!("{list}[{index}]");
            let (kind, text) = pattern(host, &path)?;
            let host = match kind {
                Kind::Exact => HostMatch::exact(text, effect),
                Kind::Prefix => HostMatch::prefix(text, effect),
                Kind::Suffix => HostMatch::suffix(text, effect),
                Kind::Contains => HostMatch::contains(text, effect),
            };
            host.map_err(|reason| ConfigError::new(format!("{path}.{}", kind.field()), reason))
        };
        operation.hosts.iter().enumerate().map(read).collect()
    }

    fn paths(
        &mut self,
        operation: &resources::Operation,
        path: &str,
        effect: Effect,
    ) -> Result<Vec<TextMatch>, ConfigError> {
        let list = format!("{path}.paths");
        let more = operation.paths.len();
        count(&list, &mut self.counts.paths, more, AUTHZ_PATHS, "paths")?;
        let read = |(index, path): (usize, &StringMatch)| {
            let at = format!("{list}[{index}]");
            let (kind, text) = pattern(path, &at)?;
            // RFC 9112 3.2: origin-form, or the asterisk of OPTIONS.
            let begins = text.starts_with('/') || text == "*";
            if matches!(kind, Kind::Exact | Kind::Prefix) && !begins {
                return Err(ConfigError::new(
                    format!("{at}.{}", kind.field()),
                    "begins no path: paths begin with \"/\"",
                ));
            }
            let case = Case::new(path.ignore_case, effect);
            Ok(TextMatch::new(kind.pattern(), text, case))
        };
        operation.paths.iter().enumerate().map(read).collect()
    }

    fn methods(
        &mut self,
        operation: &resources::Operation,
        path: &str,
    ) -> Result<Vec<String>, ConfigError> {
        let list = format!("{path}.methods");
        let so_far = &mut self.counts.methods;
        count(
            &list,
            so_far,
            operation.methods.len(),
            AUTHZ_METHODS,
            "methods",
        )?;
        let read = |(index, method): (usize, &String)| {
            // All registered methods are in upper case; "get" would match nothing.
            if is_token(method.as_bytes()) && !method.bytes().any(|b| b.is_ascii_lowercase()) {
                Ok(method.clone())
            } else {
                Err(ConfigError::new(
                    format!("{list}[{index}]"),
                    "is not a method in upper case",
                ))
            }
        };
        operation.methods.iter().enumerate().map(read).collect()
    }

    fn headers(
        &mut self,
        header_set: &resources::HeaderSet,
        list: &str,
        effect: Effect,
    ) -> Result<Vec<HeaderMatch>, ConfigError> {
        let so_far = &mut self.counts.headers;
        let more = header_set.headers.len();
        if more == 0 {
            return Err(ConfigError::new(list, "is empty, and would match always"));
        }
        count(list, so_far, more, AUTHZ_HEADERS, "headers")?;
        let read = |(index, header): (usize, &resources::HeaderMatch)| {
            let path = format!("{list}[{index}]");
            let wrong_name = |reason| Err(ConfigError::new(format!("{path}.name"), reason));
            if !is_token(header.name.as_bytes()) {
                return wrong_name("is not a header name");
            }
            if header.name.eq_ignore_ascii_case("host") {
                return wrong_name("is no header in HTTP/2: use hosts");
            }
            let folded = FoldedName::new(header.name.as_bytes());
            // One that should let in lets nobody in, and shows itself.
            if effect == Effect::KeepsOut && self.setting.removed.contains(&folded) {
                return wrong_name("is set or removed here, so that it would keep nobody out");
            }
            let (kind, text) = pattern(&header.value, &format!("{path}.value"))?;
            let case = Case::new(header.value.ignore_case, effect);
            Ok(HeaderMatch {
                name: header.name.clone(),
                folded,
                value: TextMatch::new(kind.pattern(), text, case),
                effect,
            })
        };
        header_set.headers.iter().enumerate().map(read).collect()
    }
}

/// The entry of `sources` or of `notSources`, with its path and whether it is negated; and so for
/// operations.
///
/// Not both. `authz_policy.proto` says that either suffices, so that `notSources` beside `sources`
/// would let in nearly everybody where most readers expect an exception.
fn only_entry<'r, T>(
    path: &str,
    (name, entries): (&str, &'r [T]),
    (negated_name, negated): (&str, &'r [T]),
    limit: usize,
) -> Result<(String, &'r T, bool), ConfigError> {
    at_most(
        format_args!("{path}.{name}"),
        entries.len(),
        limit,
        "entries",
    )?;
    at_most(
        format_args!("{path}.{negated_name}"),
        negated.len(),
        limit,
        "entries",
    )?;
    match (entries.first(), negated.first()) {
        (Some(entry), None) => Ok((format!("{path}.{name}[0]"), entry, false)),
        (None, Some(entry)) => Ok((format!("{path}.{negated_name}[0]"), entry, true)),
        (Some(_), Some(_)) => Err(ConfigError::new(
            path,
            format!(
                "has both {name} and {negated_name}, of which either would suffice: write two \
                 rules for that, or a policy of the other action for an exception"
            ),
        )),
        (None, None) => Err(ConfigError::new(
            path,
            format!("has neither {name} nor {negated_name}"),
        )),
    }
}

/// Which of the four patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Contains,
}

impl Kind {
    fn field(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Suffix => "suffix",
            Self::Contains => "contains",
        }
    }

    fn pattern(self) -> fn(Box<[u8]>) -> Pattern {
        match self {
            Self::Exact => Pattern::Exact,
            Self::Prefix => Pattern::Prefix,
            Self::Suffix => Pattern::Suffix,
            Self::Contains => Pattern::contains,
        }
    }
}

/// `authz_policy.proto`, StringMatch: one of four, and none is empty.
fn pattern<'m>(string_match: &'m StringMatch, path: &str) -> Result<(Kind, &'m str), ConfigError> {
    let mut given = [
        (Kind::Exact, &string_match.exact),
        (Kind::Prefix, &string_match.prefix),
        (Kind::Suffix, &string_match.suffix),
        (Kind::Contains, &string_match.contains),
    ]
    .into_iter()
    .filter_map(|(kind, text)| Some((kind, text.as_deref()?)));
    let (Some((kind, text)), None) = (given.next(), given.next()) else {
        return Err(ConfigError::new(
            path,
            "must have exactly one of exact, prefix, suffix and contains",
        ));
    };
    let path = format!("{path}.{}", kind.field());
    if text.is_empty() {
        return Err(ConfigError::new(path, "is empty"));
    }
    at_most(
        format_args!("{path}"),
        text.len(),
        AUTHZ_PATTERN_BYTES,
        "bytes",
    )?;
    Ok((kind, text))
}

#[cfg(test)]
mod tests;
