//! From `source.header` to the headers that are read and the relays that are believed.

use super::compile::{at_most, check_name, trust};
use super::resources::{
    ConnectionSource, HeaderEncoding, HeaderSource as Document, Relay, RelayMtls,
};
use super::{ConfigError, ConfigWarning, Mode, Rejection};
use crate::authz::{DirectPeer, IpBlock, IpBlockFault};
use crate::forwarded::header::{Chain, Encoding, Format, HeaderSource};
use crate::forwarded::presets::{Names, Preset};
use crate::limits::{RELAYS, XFCC_ELEMENTS};
use crate::pipeline::FORWARDED_HEADER;
use crate::relay::{Addresses, Forwarded, RelayNames, RelayRule};
use crate::trust::Trust;

const PATH: &str = "source.header";
const RELAY: &str = "source.header.relay";

fn error(field: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::new(format!("{PATH}{field}"), reason)
}

pub(super) fn forwarded(
    document: &Document,
    connection: &ConnectionSource,
    mode: Mode,
    direct_peer: DirectPeer,
) -> Result<Forwarded, ConfigError> {
    if mode == Mode::Off {
        return Err(ConfigError::new(
            "serverTlsPolicy.mtlsPolicy",
            "is missing, so that source.header would not be used",
        ));
    }
    if connection.keep_forwarded_header {
        return Err(ConfigError::new(
            "source.connection.keepForwardedHeader",
            "is about this proxy's own header, and source.header is another's",
        ));
    }
    Ok(Forwarded {
        source: source(document)?,
        relay: relay(&document.relay, direct_peer)?,
    })
}

pub(super) fn warnings(
    forwarded: &Forwarded,
    clients: Option<&Trust>,
    mode: Mode,
    rejection: &Rejection,
) -> impl Iterator<Item = ConfigWarning> {
    let closes = mode == Mode::RejectInvalid && *rejection == Rejection::Close;
    let of_rejection = closes.then_some(ConfigWarning {
        path: "rejection.action",
        what: "is CLOSE, which a relay takes for a broken backend: one refused client may take this \
               one out of service for all; RESPOND does not",
    });
    of_relay(forwarded, clients).into_iter().chain(of_rejection)
}

fn of_relay(forwarded: &Forwarded, clients: Option<&Trust>) -> Option<ConfigWarning> {
    let (path, what) = match &forwarded.relay {
        RelayRule::Anybody => (
            "source.header.relay.trustAnyRelay",
            "whoever reaches this listener may pass as any client whose certificate he has seen",
        ),
        RelayRule::Nobody => (
            RELAY,
            "names nobody, so that every request counts as one without a certificate",
        ),
        RelayRule::At(Addresses(blocks)) if blocks.iter().any(|block| block.holds_all()) => (
            "source.header.relay.addresses",
            "hold every address: whoever reaches this listener may pass as any client whose \
             certificate he has seen",
        ),
        RelayRule::Named { trust, .. }
            if clients.is_some_and(|clients| clients.shares_ca(trust)) =>
        {
            (
                "source.header.relay.mtls.trustConfig",
                "shares a CA with trustConfig: a client to whom it gives one of sanMatch's names \
             passes as the relay",
            )
        }
        RelayRule::At(_) | RelayRule::Named { .. } => return None,
    };
    Some(ConfigWarning { path, what })
}

/// The headers that are read, without who is believed about them.
///
/// # Errors
/// The first thing that is wrong.
pub fn source(document: &Document) -> Result<HeaderSource, ConfigError> {
    let source = match (document.preset, document.encoding) {
        (Some(preset), None) => from_preset(preset, document)?,
        (None, Some(encoding)) => from_parts(encoding, document)?,
        (Some(_), Some(_)) => return Err(error(".encoding", "is the preset's business")),
        (None, None) => return Err(error("", "has neither a preset nor an encoding")),
    };
    // Each header is read once, as one thing.
    let mut names: Vec<String> = source
        .names()
        .map(|name| name.to_ascii_lowercase())
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    if names.len() != count {
        return Err(error("", "reads one header as two things"));
    }
    Ok(source)
}

fn from_preset(preset: Preset, document: &Document) -> Result<HeaderSource, ConfigError> {
    let parts = [
        (
            ".certificateHeaderHasChain",
            document.certificate_header_has_chain.is_some(),
        ),
        (
            ".chainHeaderHasEndEntity",
            document.chain_header_has_end_entity.is_some(),
        ),
    ];
    if let Some((field, _)) = parts.into_iter().find(|(_, set)| *set) {
        return Err(error(field, "is the preset's business"));
    }
    let names = preset.names();
    let is_named = |field, name: &Option<String>, may: bool| match name {
        Some(_) if !may => Err(error(field, "is not for this preset")),
        name => checked(field, name.as_deref()),
    };
    let own = is_named(
        ".certificateHeader",
        &document.certificate_header,
        names != Names::Fixed,
    )?;
    let chain = is_named(
        ".chainHeader",
        &document.chain_header,
        matches!(names, Names::Default | Names::EndEntityAndChain),
    )?;
    let numbered = is_named(
        ".numberedChainHeaders",
        &document.numbered_chain_headers,
        names == Names::EndEntityAndNumbered,
    )?;
    let mut source = preset.source();
    match own {
        Some(own) => source.name = own,
        None if matches!(names, Names::Fixed | Names::Default) => {}
        None => {
            return Err(error(
                ".certificateHeader",
                "is missing: it has no usual name",
            ));
        }
    }
    match &mut source.format {
        Format::Xfcc { elements } => *elements = self::elements(document.elements)?,
        Format::Certificates { chain: found, .. } => {
            no_elements(document)?;
            if let Some(name) = chain {
                *found = Chain::Header {
                    name,
                    has_end_entity: false,
                };
            } else if let Some(prefix) = numbered {
                *found = Chain::Numbered { prefix };
            }
        }
    }
    Ok(source)
}

fn from_parts(encoding: HeaderEncoding, document: &Document) -> Result<HeaderSource, ConfigError> {
    let own = checked(".certificateHeader", document.certificate_header.as_deref())?;
    let chain = checked(".chainHeader", document.chain_header.as_deref())?;
    let prefix = checked(
        ".numberedChainHeaders",
        document.numbered_chain_headers.as_deref(),
    )?;
    let is_same = document.certificate_header_has_chain == Some(true);
    if chain.is_none() && document.chain_header_has_end_entity.is_some() {
        return Err(error(
            ".chainHeaderHasEndEntity",
            "goes with chainHeader only",
        ));
    }
    let encoding = match encoding {
        HeaderEncoding::Xfcc => {
            let others = [
                (".chainHeader", chain.is_some()),
                (".numberedChainHeaders", prefix.is_some()),
                (
                    ".certificateHeaderHasChain",
                    document.certificate_header_has_chain.is_some(),
                ),
            ];
            if let Some((field, _)) = others.into_iter().find(|(_, set)| *set) {
                return Err(error(field, "is not for XFCC, which is one header"));
            }
            return Ok(HeaderSource {
                name: own.unwrap_or_else(|| FORWARDED_HEADER.to_owned()),
                format: Format::Xfcc {
                    elements: elements(document.elements)?,
                },
                companions: Vec::new(),
            });
        }
        HeaderEncoding::Rfc9440 => Encoding::Rfc9440,
        HeaderEncoding::Pem => Encoding::Pem,
        HeaderEncoding::Base64Der => Encoding::Base64Der,
    };
    no_elements(document)?;
    let chain = match (is_same, chain, prefix) {
        (false, None, None) => Chain::None,
        (true, None, None) => Chain::Same,
        (false, Some(name), None) => Chain::Header {
            name,
            has_end_entity: document.chain_header_has_end_entity == Some(true),
        },
        (false, None, Some(prefix)) => Chain::Numbered { prefix },
        _ => {
            return Err(error(
                "",
                "has the chain in several places: certificateHeaderHasChain, chainHeader, \
                 numberedChainHeaders",
            ));
        }
    };
    Ok(HeaderSource {
        name: own.ok_or_else(|| error(".certificateHeader", "is missing"))?,
        format: Format::Certificates { encoding, chain },
        companions: Vec::new(),
    })
}

fn checked(field: &str, name: Option<&str>) -> Result<Option<String>, ConfigError> {
    let Some(name) = name else {
        return Ok(None);
    };
    check_name(&format!("{PATH}{field}"), name)?;
    Ok(Some(name.to_owned()))
}

fn elements(configured: Option<usize>) -> Result<usize, ConfigError> {
    let elements = configured.unwrap_or(1);
    if (1..=XFCC_ELEMENTS).contains(&elements) {
        Ok(elements)
    } else {
        Err(error(
            ".elements",
            format!("{elements} is not between 1 and {XFCC_ELEMENTS}"),
        ))
    }
}

fn no_elements(document: &Document) -> Result<(), ConfigError> {
    match document.elements {
        Some(_) => Err(error(".elements", "goes with XFCC only")),
        None => Ok(()),
    }
}

fn relay(document: &Relay, direct_peer: DirectPeer) -> Result<RelayRule, ConfigError> {
    let ways = [
        document.mtls.is_some(),
        !document.addresses.is_empty(),
        document.trust_any_relay,
    ];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return Err(error(
            ".relay",
            "has more than one of mtls, addresses and trustAnyRelay",
        ));
    }
    if document.trust_any_relay {
        return Ok(RelayRule::Anybody);
    }
    if let Some(mtls) = &document.mtls {
        return named(mtls);
    }
    if document.addresses.is_empty() {
        return Ok(RelayRule::Nobody);
    }
    addresses(&document.addresses, direct_peer)
}

fn named(document: &RelayMtls) -> Result<RelayRule, ConfigError> {
    let path = format!("{RELAY}.mtls");
    let names = &document.san_match;
    let trust = trust(&document.trust_config)
        .map_err(|error| ConfigError::new(format!("{path}.{}", error.path), error.reason))?;
    let count = names.uris.len().saturating_add(names.dns_names.len());
    let path = format!("{path}.sanMatch");
    if count == 0 {
        return Err(ConfigError::new(path, "names no relay"));
    }
    at_most(format_args!("{path}"), count, RELAYS, "names")?;
    for (list, names) in [("uris", &names.uris), ("dnsNames", &names.dns_names)] {
        for (index, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err(ConfigError::new(
                    format!("{path}.{list}[{index}]"),
                    "is empty",
                ));
            }
            // Compared as a whole: a pattern would be a name that nobody has.
            if name.contains('*') {
                return Err(ConfigError::new(
                    format!("{path}.{list}[{index}]"),
                    "holds a *, and names are compared as a whole",
                ));
            }
        }
    }
    Ok(RelayRule::Named {
        trust: Box::new(trust),
        names: RelayNames {
            uris: names.uris.clone(),
            dns_names: names.dns_names.clone(),
        },
    })
}

fn addresses(blocks: &[String], direct_peer: DirectPeer) -> Result<RelayRule, ConfigError> {
    let path = format!("{RELAY}.addresses");
    at_most(format_args!("{path}"), blocks.len(), RELAYS, "addresses")?;
    if direct_peer == DirectPeer::Unknown {
        return Err(ConfigError::new(
            path,
            "the direct peer's address is not known here (source.address follows \
             X-Forwarded-For and can be forged); source.connection.directPeerAddress provides it",
        ));
    }
    let read = |(index, text): (usize, &String)| {
        let block = text
            .split_once('/')
            .and_then(|(prefix, length)| Some((prefix, length.parse().ok()?)))
            .map_or(Err(IpBlockFault::NotAnAddress), |(prefix, length)| {
                IpBlock::read(prefix, length)
            });
        block.map_err(|fault| {
            let reason = match fault {
                IpBlockFault::NotAnAddress => "is not ADDRESS/LENGTH".to_owned(),
                IpBlockFault::Mapped => {
                    "is an IPv4 address in IPv6 form: write it as IPv4".to_owned()
                }
                IpBlockFault::Length { bits } => format!("length is not between 0 and {bits}"),
                IpBlockFault::HostBits => "has bits set behind its length".to_owned(),
            };
            ConfigError::new(format!("{path}[{index}]"), reason)
        })
    };
    let blocks: Result<Vec<IpBlock>, ConfigError> = blocks.iter().enumerate().map(read).collect();
    Ok(RelayRule::At(Addresses(blocks?)))
}
