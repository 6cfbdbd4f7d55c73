//! RFC 5280 6.3.3 b to e: does this CRL speak about this certificate, and for which reasons?

use crate::x509::{Certificate, Crl, DistributionPoint, NameKey, Reasons, Scope};

/// A distribution point of a certificate, with its names in full.
pub(super) struct Point {
    /// Names of the place; empty if the point has none.
    names: Vec<NameKey>,
    /// `cRLIssuer`; `None`: the certificate's issuer.
    crl_issuer: Option<Vec<NameKey>>,
    reasons: Reasons,
}

impl Point {
    pub(super) fn explicit(point: &DistributionPoint, certificate: &Certificate) -> Self {
        let certificate_issuer = [certificate.issuer().canonical()];
        let crl_issuers: Vec<&[u8]> = match &point.crl_issuer {
            Some(names) => names.iter().filter_map(NameKey::as_directory).collect(),
            None => certificate_issuer.to_vec(),
        };
        Self {
            names: point
                .name
                .as_ref()
                .map(|name| name.in_full(&crl_issuers))
                .unwrap_or_default(),
            crl_issuer: point.crl_issuer.clone(),
            reasons: point.reasons,
        }
    }

    /// 6.3.3, last paragraph: CRLs of the certificate's issuer that no point names.
    pub(super) fn implied(certificate: &Certificate) -> Self {
        Self {
            names: vec![NameKey::directory(certificate.issuer().canonical())],
            crl_issuer: None,
            reasons: Reasons::ALL,
        }
    }

    /// 6.3.3 b 1: the names of those whose CRLs count at this point.
    pub(super) fn issuers<'b>(&'b self, certificate: &'b Certificate) -> Vec<&'b [u8]> {
        match &self.crl_issuer {
            Some(names) => names.iter().filter_map(NameKey::as_directory).collect(),
            None => vec![certificate.issuer().canonical()],
        }
    }

    /// 6.3.3 b 1, b 2, d: the reasons for which `crl`, whose issuer is one of [`Self::issuers`],
    /// tells the certificate's status. None: it does not cover it.
    pub(super) fn reasons_of(&self, crl: &Crl, certificate: &Certificate) -> Reasons {
        let Some(issuing) = crl.issuing_distribution_point() else {
            // b 1: another issuer's CRL must say that it is indirect. d 4, d 3
            return match self.crl_issuer {
                Some(_) => Reasons::NONE,
                None => self.reasons,
            };
        };
        if self.crl_issuer.is_some() && !issuing.indirect {
            return Reasons::NONE;
        }
        // b 2 i
        if let Some(name) = &issuing.name {
            let of_crl = name.in_full(&[crl.issuer().canonical()]);
            let of_point = match (&self.crl_issuer, self.names.is_empty()) {
                (Some(crl_issuer), true) => crl_issuer,
                _ => &self.names,
            };
            if !of_crl.iter().any(|name| of_point.contains(name)) {
                return Reasons::NONE;
            }
        }
        let is_ca = certificate
            .extensions()
            .basic_constraints
            .is_some_and(|constraints| constraints.ca);
        let in_scope = match issuing.scope {
            Scope::Any => true,
            // b 2 ii
            Scope::UserCertificates => !is_ca,
            // b 2 iii
            Scope::CaCertificates => is_ca,
            // b 2 iv
            Scope::AttributeCertificates => false,
        };
        if in_scope {
            // d 1, d 2
            issuing.reasons.intersection(self.reasons)
        } else {
            Reasons::NONE
        }
    }
}
