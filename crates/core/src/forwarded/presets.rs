//! How products forward a client's certificate, under the products' names.
//!
//! As measured of Envoy 1.40, nginx 1.22, HAProxy 2.6, Apache 2.4 and Caddy 2.11, and as documented
//! by the others.

use serde::Deserialize;

use super::header::{Chain, Encoding, Format, HeaderSource};

/// `source.header.preset`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Preset {
    /// Envoy's `x-forwarded-client-cert`, text or JSON, with `Cert=` or `Chain=`.
    Envoy,
    /// RFC 9440: `Client-Cert` and `Client-Cert-Chain`.
    Rfc9440,
    /// Google's `{client_cert_leaf}` and `{client_cert_chain}` under names of the configuration.
    GoogleAlb,
    /// AWS Application Load Balancer, mutual TLS in passthrough mode.
    AwsAlbPassthrough,
    /// AWS Application Load Balancer, mutual TLS in verify mode: the end entity only.
    AwsAlbVerify,
    /// nginx: `$ssl_client_escaped_cert`, or the older `$ssl_client_cert`.
    Nginx,
    /// HAProxy: `%[ssl_c_der,base64]` and `%[ssl_c_chain_der,base64]`.
    Haproxy,
    /// Apache: `%{SSL_CLIENT_CERT}s`, escaped or not, and `%{SSL_CLIENT_CERT_CHAIN_0}s` and so on.
    Apache,
    /// Caddy: `{http.request.tls.client.certificate_der_base64}`.
    Caddy,
    /// Traefik's `passTLSClientCert` with `pem: true`.
    Traefik,
    /// Azure App Service.
    AzureAppService,
    /// Azure Application Gateway: `{var_client_certificate}` in a rewrite rule.
    AzureApplicationGateway,
    /// Cloudflare's `cert_rfc9440` and `cert_chain_rfc9440` fields.
    Cloudflare,
    /// Cloudflare's header of its own.
    CloudflareLegacy,
}

/// Who names the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The product, and nobody else.
    Fixed,
    /// The product, unless the configuration does.
    Default,
    /// The configuration, the end entity's.
    EndEntity,
    /// The configuration, the end entity's and, if it is forwarded, the chain's.
    EndEntityAndChain,
    /// The configuration, the end entity's and, if they are forwarded, the numbered ones' prefix.
    EndEntityAndNumbered,
}

impl Preset {
    /// Who names the headers.
    #[must_use]
    pub fn names(self) -> Names {
        match self {
            Self::Envoy
            | Self::AwsAlbPassthrough
            | Self::AwsAlbVerify
            | Self::Traefik
            | Self::AzureAppService
            | Self::CloudflareLegacy => Names::Fixed,
            Self::Rfc9440 | Self::Cloudflare => Names::Default,
            Self::GoogleAlb | Self::Haproxy => Names::EndEntityAndChain,
            Self::Apache => Names::EndEntityAndNumbered,
            Self::Nginx | Self::Caddy | Self::AzureApplicationGateway => Names::EndEntity,
        }
    }

    /// The product's form, under the product's names where it has any.
    #[must_use]
    pub fn source(self) -> HeaderSource {
        let in_one = |name: &str, encoding, chain| HeaderSource {
            name: name.to_owned(),
            format: Format::Certificates { encoding, chain },
            companions: Vec::new(),
        };
        let with = |source: HeaderSource, companions: &[&str]| HeaderSource {
            companions: companions.iter().map(|&name| name.to_owned()).collect(),
            ..source
        };
        match self {
            Self::Envoy => HeaderSource {
                name: "x-forwarded-client-cert".to_owned(),
                format: Format::Xfcc { elements: 1 },
                companions: Vec::new(),
            },
            Self::Rfc9440 | Self::Cloudflare => {
                let chain = Chain::Header {
                    name: "client-cert-chain".to_owned(),
                    has_end_entity: false,
                };
                in_one("client-cert", Encoding::Rfc9440, chain)
            }
            Self::GoogleAlb => in_one("", Encoding::Rfc9440, Chain::None),
            Self::AwsAlbPassthrough => in_one("x-amzn-mtls-clientcert", Encoding::Pem, Chain::Same),
            Self::AwsAlbVerify => with(
                in_one("x-amzn-mtls-clientcert-leaf", Encoding::Pem, Chain::None),
                &[
                    "x-amzn-mtls-clientcert-serial-number",
                    "x-amzn-mtls-clientcert-issuer",
                    "x-amzn-mtls-clientcert-subject",
                    "x-amzn-mtls-clientcert-validity",
                ],
            ),
            Self::Nginx | Self::Apache | Self::AzureApplicationGateway => {
                in_one("", Encoding::Pem, Chain::None)
            }
            Self::Haproxy | Self::Caddy => in_one("", Encoding::Base64Der, Chain::None),
            Self::Traefik => with(
                in_one(
                    "x-forwarded-tls-client-cert",
                    Encoding::Base64Der,
                    Chain::Same,
                ),
                &["x-forwarded-tls-client-cert-info"],
            ),
            Self::AzureAppService => in_one("x-arr-clientcert", Encoding::Base64Der, Chain::None),
            Self::CloudflareLegacy => with(
                in_one(
                    "cf-client-cert-der-base64",
                    Encoding::Base64Der,
                    Chain::None,
                ),
                &["cf-client-cert-pem", "cf-client-cert-sha256"],
            ),
        }
    }
}
