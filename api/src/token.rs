//! `holdfast token`: signs a token by the key that the servers check it with. Whoever has the key can be anybody, so it is run
//! where the key is, and nowhere else.

use engine::Runtime;
use serde_json::{Value, json};
use workflows::domain::ids::BuyerId;

use crate::auth::{Keys, Operator, Role, TokenError, Tokens};
use crate::cli::Output;
use crate::cli::token::Token;
use crate::clock::rfc3339;
use crate::config::checked_key;
use crate::exit::{Code, Failure};
use crate::wiring::kept_token_key;

/// Prints a token for an operator or for a buyer.
pub fn run(arguments: &Token, runtime: Runtime) -> Result<(), Failure> {
    let tokens = Tokens::new(keys(arguments)?, runtime);
    let (token, all) = match (&arguments.buyer, arguments.role) {
        (Some(name), _) => for_buyer(&tokens, name)?,
        (None, Some(role)) => for_operator(&tokens, arguments, role)?,
        (None, None) => return Err(wrong("say --role and --subject, or --buyer")),
    };
    match arguments.output {
        Output::Text => println!("{token}"),
        Output::Json => println!("{all:#}"),
    }
    Ok(())
}

fn keys(arguments: &Token) -> Result<Keys, Failure> {
    if let Some(key) = checked_key("HOLDFAST_TOKEN_KEY", arguments.key.as_ref())? {
        return Ok(Keys::new(key, None));
    }
    match kept_token_key(&arguments.data_dir)? {
        Some(key) => Ok(Keys::new(&key, None)),
        None => Err(wrong(format!(
            "HOLDFAST_TOKEN_KEY is not set, and there is no key in {}: set it to the servers' key, or name embedded mode's \
             data directory by --data-dir",
            arguments.data_dir.display()
        ))),
    }
}

fn for_operator(
    tokens: &Tokens,
    arguments: &Token,
    role: Role,
) -> Result<(String, Value), Failure> {
    let name = arguments.subject.clone().unwrap_or_default();
    if !Operator::is_name(&name) {
        return Err(wrong("--subject must be 1 to 100 bytes of one line"));
    }
    let operator = Operator { name, role };
    let signed = tokens
        .sign_operator(&operator, arguments.lifetime)
        .map_err(unsigned)?;
    let all = json!({
        "token": signed.token,
        "token_type": "Bearer",
        "subject": operator.name,
        "role": operator.role,
        "expires_at": rfc3339(signed.expires_at),
    });
    Ok((signed.token, all))
}

fn for_buyer(tokens: &Tokens, name: &str) -> Result<(String, Value), Failure> {
    let buyer = BuyerId::parse(name).map_err(|error| wrong(format!("--buyer {error}")))?;
    let grant = tokens.sign_in(buyer).map_err(unsigned)?;
    let all = json!({
        "buyer": grant.buyer,
        "access_token": grant.access_token,
        "token_type": "Bearer",
        "expires_at": rfc3339(grant.expires_at),
        "refresh_token": grant.refresh_token,
        "refresh_expires_at": rfc3339(grant.refresh_expires_at),
    });
    Ok((grant.access_token, all))
}

fn wrong(sentence: impl Into<String>) -> Failure {
    Failure::new(Code::Configuration, sentence)
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` wants")]
fn unsigned(error: TokenError) -> Failure {
    Failure::internal("signing a token", &error)
}
