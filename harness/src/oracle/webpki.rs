//! rustls-webpki with ring: what rustls asks when it verifies a client or a server.

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, Error, ExpirationPolicy,
    ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage, RevocationOptionsBuilder, VerifiedPath,
};

use super::{Oracle, Purpose, Question, Verdict};

/// rustls-webpki.
#[derive(Clone, Copy, Debug, Default)]
pub struct Webpki;

/// A purpose, or none: webpki itself always asks for one.
struct Usage(Option<Purpose>);

impl ExtendedKeyUsageValidator for Usage {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        match self.0 {
            None => Ok(()),
            Some(Purpose::Client) => KeyUsage::client_auth().validate(purposes),
            Some(Purpose::Server) => KeyUsage::server_auth().validate(purposes),
        }
    }
}

impl Oracle for Webpki {
    fn name(&self) -> &'static str {
        "webpki"
    }

    fn judge(&self, question: &Question) -> Verdict {
        verify(question).unwrap_or_else(|error| Verdict::refused(format_args!("{error:?}")))
    }
}

fn verify(question: &Question) -> Result<Verdict, Error> {
    let borrowed = |ders: &[Vec<u8>]| -> Vec<CertificateDer<'static>> {
        ders.iter().cloned().map(CertificateDer::from).collect()
    };
    let anchors = borrowed(&question.anchors);
    // An anchor that cannot be parsed is left out, as rustls does.
    let (anchors, anchor_ders): (Vec<TrustAnchor<'_>>, Vec<&CertificateDer<'_>>) = anchors
        .iter()
        .filter_map(|der| Some((webpki::anchor_from_trusted_cert(der).ok()?, der)))
        .unzip();
    let intermediates = borrowed(&question.intermediates);
    let end_entity_der = CertificateDer::from(question.end_entity.as_slice());
    let end_entity = EndEntityCert::try_from(&end_entity_der)?;
    let crls = question
        .crls
        .iter()
        .map(|der| BorrowedCertRevocationList::from_der(der).map(CertRevocationList::from))
        .collect::<Result<Vec<_>, _>>()?;
    let crls: Vec<&CertRevocationList<'_>> = crls.iter().collect();
    let revocation = RevocationOptionsBuilder::new(&crls).ok().map(|builder| {
        builder
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build()
    });
    // Nothing is valid before 1970 here: webpki's time has no sign.
    let time = core::time::Duration::from_secs(u64::try_from(question.time.0).unwrap_or_default());
    let short_enough = |path: &VerifiedPath<'_>| match question.max_intermediates {
        Some(max)
            // Self-issued ones do not count, as in path lengths.
            if path
                .intermediate_certificates()
                .filter(|one| one.subject() != one.issuer())
                .count()
                .try_into()
                .map_or(true, |count: u32| count > max) =>
        {
            Err(Error::MaximumPathDepthExceeded)
        }
        _ => Ok(()),
    };
    let path = end_entity.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &intermediates,
        UnixTime::since_unix_epoch(time),
        Usage(question.purpose),
        revocation,
        Some(&short_enough),
    )?;
    let mut ders = vec![question.end_entity.clone()];
    ders.extend(
        path.intermediate_certificates()
            .map(|certificate| certificate.der().to_vec()),
    );
    let anchor = anchors
        .iter()
        .zip(&anchor_ders)
        .find(|(anchor, _)| *anchor == path.anchor());
    ders.extend(anchor.map(|(_, der)| der.to_vec()));
    Ok(Verdict::accepted(ders))
}
