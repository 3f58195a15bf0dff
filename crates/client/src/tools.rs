//! Tool calls: asked before, reported after. What is said of the arguments is a digest with a salt, so that the log
//! binds a call to its arguments without showing them, and nobody can guess them from it.

use crate::{Broker, Error};
use ring::{digest, rand};
use taskpass_proto::v1::{self, tool_service_client::ToolServiceClient};
use taskpass_types::Secret;
use tonic::Code;

/// A tool call's arguments as the broker learns of them, and the salt that proves them later.
pub struct Arguments {
    digest: [u8; 32],
    salt: Secret<[u8; 16]>,
}

impl Arguments {
    /// With a fresh salt.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(arguments: &[u8]) -> Result<Self, Error> {
        let no_random = |_| Error::local(Code::Internal, None, "the system gives no random numbers");
        let salt: [u8; 16] = rand::generate(&rand::SystemRandom::new()).map_err(no_random)?.expose();
        Ok(Self { digest: salted(&salt, arguments), salt: salt.into() })
    }

    /// What the broker is told.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Keep it with the arguments: together they prove what was called.
    pub fn salt(&self) -> &Secret<[u8; 16]> {
        &self.salt
    }

    /// Whether these are the arguments of that digest.
    pub fn proves(digest: &[u8], salt: &[u8; 16], arguments: &[u8]) -> bool {
        salted(salt, arguments) == *digest
    }
}

fn salted(salt: &[u8; 16], arguments: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(salt);
    context.update(arguments);
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    bytes
}

impl Broker {
    /// Asks whether a tool may be called. A denial is an answer.
    pub async fn authorize_call(
        &self,
        request: v1::AuthorizeToolCallRequest,
    ) -> Result<v1::AuthorizeToolCallResponse, Error> {
        // Asking twice would count twice: an answer that was lost is not asked for again.
        Ok(ToolServiceClient::new(self.channel()).authorize_tool_call(request).await?.into_inner())
    }

    /// Says how a tool call ended.
    pub async fn report_call(
        &self,
        request: v1::ReportToolCallRequest,
    ) -> Result<v1::ReportToolCallResponse, Error> {
        self.call(request, |channel, request| async move {
            ToolServiceClient::new(channel).report_tool_call(request).await
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_proved_by_its_salt_and_its_arguments_only() {
        let arguments = Arguments::new(b"{\"amount\":12}").unwrap();
        let (digest, salt) = (arguments.digest(), arguments.salt().expose());
        assert!(Arguments::proves(digest, salt, b"{\"amount\":12}"));
        assert!(!Arguments::proves(digest, salt, b"{\"amount\":13}"));
        assert!(!Arguments::proves(digest, &[0; 16], b"{\"amount\":12}"));
        assert!(!Arguments::proves(&digest[..31], salt, b"{\"amount\":12}"));
        let again = Arguments::new(b"{\"amount\":12}").unwrap();
        assert_ne!(digest, again.digest(), "equal arguments cannot be recognised");
    }
}
