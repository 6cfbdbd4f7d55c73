//! OpenSSL's `X509_verify_cert`, with the flags under which its rules are nearest to ours.

use std::io::{self, Write as _};

use openssl::error::ErrorStack;
use openssl::ssl::SslFiletype;
use openssl::stack::Stack;
use openssl::x509::store::{X509Lookup, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509Crl, X509PurposeId, X509StoreContext};
use thiserror::Error;

use super::{Oracle, Purpose, Question, Verdict};

/// OpenSSL, the version that this program is linked with.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenSsl;

/// 112 bits of security: refuses SHA-1 signatures and RSA keys below 2,048 bits, as we do.
const AUTH_LEVEL: i32 = 2;

#[derive(Debug, Error)]
enum OpenSslError {
    #[error("cannot be asked: {0}")]
    Library(#[from] ErrorStack),
    #[error("revocation lists: {0}")]
    File(#[from] io::Error),
}

impl Oracle for OpenSsl {
    fn name(&self) -> &'static str {
        "openssl"
    }

    fn judge(&self, question: &Question) -> Verdict {
        verify(question).unwrap_or_else(Verdict::refused)
    }
}

fn verify(question: &Question) -> Result<Verdict, OpenSslError> {
    let mut parameters = X509VerifyParam::new()?;
    // An anchor need not be self-signed.
    let mut flags = X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::POLICY_CHECK;
    parameters.set_time(question.time.0);
    parameters.set_auth_level(AUTH_LEVEL);
    match question.purpose {
        Some(Purpose::Client) => parameters.set_purpose(X509PurposeId::SSL_CLIENT)?,
        Some(Purpose::Server) => parameters.set_purpose(X509PurposeId::SSL_SERVER)?,
        None => {}
    }
    if let Some(max) = question.max_intermediates {
        parameters.set_depth(i32::try_from(max).unwrap_or(i32::MAX));
    }
    let mut store = X509StoreBuilder::new()?;
    for der in &question.anchors {
        // An anchor that cannot be parsed is left out.
        if let Ok(anchor) = X509::from_der(der) {
            store.add_cert(anchor)?;
        }
    }
    if !question.crls.is_empty() {
        flags |= X509VerifyFlags::CRL_CHECK
            | X509VerifyFlags::CRL_CHECK_ALL
            | X509VerifyFlags::EXTENDED_CRL_SUPPORT
            | X509VerifyFlags::USE_DELTAS;
        // The crate takes lists from files only.
        let mut file = tempfile::NamedTempFile::new()?;
        for der in &question.crls {
            file.write_all(&X509Crl::from_der(der)?.to_pem()?)?;
        }
        file.flush()?;
        store
            .add_lookup(X509Lookup::file())?
            .load_crl_file(file.path(), SslFiletype::PEM)?;
    }
    parameters.set_flags(flags)?;
    store.set_param(&parameters)?;
    let store = store.build();

    let mut untrusted = Stack::new()?;
    for der in &question.intermediates {
        // What OpenSSL cannot parse it would not have from a handshake either.
        if let Ok(certificate) = X509::from_der(der) {
            untrusted.push(certificate)?;
        }
    }
    let end_entity = X509::from_der(&question.end_entity)?;
    let mut context = X509StoreContext::new()?;
    let verdict = context.init(&store, &end_entity, &untrusted, |context| {
        if context.verify_cert()? {
            let chain = context.chain().into_iter().flatten();
            let path = chain.map(|one| one.to_der()).collect::<Result<_, _>>()?;
            return Ok(Verdict::accepted(path));
        }
        let error = context.error();
        Ok(Verdict::refused(format_args!(
            "{} at depth {}: {}",
            error.as_raw(),
            context.error_depth(),
            error.error_string()
        )))
    })?;
    Ok(verdict)
}
