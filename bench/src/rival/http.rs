//! A paid request for each message over HTTP/1.1, as the protocols that pay per request have it (x402 and
//! its like).
//!
//! The connection is kept alive and one request is in flight at a time, which is such a protocol's normal
//! form. Each request carries a payment of its own, 500 characters in base64, which the client signs with
//! Ed25519; the server parses the request, decodes the payment, verifies it strictly, sees that it is the
//! next one, and answers with the message and a receipt.
//!
//! Left out, in the rival's favour: the first answer 402 with the price, the facilitator that the server
//! asks, settlement and its journal, TLS, a framework, and JSON within the headers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use base64ct::{Base64, Encoding as _};
use httparse::{EMPTY_HEADER, Header, Request, Response, Status};
use sdpp_proto::identity::{PublicKey, SigningKey};
use zeroize::Zeroizing;

use super::PATIENCE;
use crate::Failure;
use crate::clock::{Stopwatch, Took};

const PAYMENT: &str = "PAYMENT-SIGNATURE";
const RECEIPT: &str = "PAYMENT-RESPONSE";
/// What is signed: who pays whom how much, when, and once. With the signature it makes 500 characters.
const SIGNED_BYTES: usize = 311;
const RECEIPT_BYTES: usize = 150;
const HEADERS_MAX: usize = 16;
const READ_BYTES: usize = 64 * 1024;

/// Sells so many messages, one a request; from the connection to the last answer.
pub(super) fn run(size: usize, messages: u64) -> Result<Took, Failure> {
    let key = SigningKey::from_seed(&Zeroizing::new([2; 32]));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    thread::scope(|scope| {
        let payer = key.public();
        let serving = scope.spawn(move || {
            let (stream, _) = listener.accept()?;
            serve(&mut Line::new(stream)?, &payer, size, messages)
        });
        let watch = Stopwatch::start();
        let bought = TcpStream::connect(at).map_err(Failure::from).and_then(|stream| {
            let mut line = Line::new(stream)?;
            (0..messages).try_for_each(|number| buy(&mut line, &key, size, number))
        });
        let took = watch.stop();
        serving.join().map_err(|_| "the serving thread panicked")??;
        bought?;
        Ok(took)
    })
}

fn serve(line: &mut Line, payer: &PublicKey, size: usize, messages: u64) -> Result<(), Failure> {
    let answer = answer(size);
    for number in 0..messages {
        line.read(|input| {
            let mut headers = [EMPTY_HEADER; HEADERS_MAX];
            let mut request = Request::new(&mut headers);
            if request.parse(input)?.is_partial() {
                return Ok(false);
            }
            check(payer, number, header(request.headers, PAYMENT)?)?;
            Ok(true)
        })?;
        line.stream.write_all(&answer)?;
    }
    Ok(())
}

/// A payment counts when its signature is valid, and once.
fn check(payer: &PublicKey, number: u64, payment: &[u8]) -> Result<(), Failure> {
    let payment = Base64::decode_vec(std::str::from_utf8(payment)?)?;
    let (signed, signature) = payment.split_at_checked(SIGNED_BYTES).ok_or("the payment is too short")?;
    let is_next = signed.starts_with(&number.to_be_bytes());
    let is_valid = payer.verify(signed, signature.try_into()?);
    if is_next && is_valid { Ok(()) } else { Err(format!("payment {number} is not valid").into()) }
}

/// The same for every request: the server would have it ready, but for the receipt.
fn answer(size: usize) -> Vec<u8> {
    let receipt = Base64::encode_string(&[7; RECEIPT_BYTES]);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n{RECEIPT}: {receipt}\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.extend((0..=u8::MAX).cycle().take(size));
    answer
}

fn buy(line: &mut Line, key: &SigningKey, size: usize, number: u64) -> Result<(), Failure> {
    let mut payment = [7; SIGNED_BYTES].to_vec();
    payment.splice(..size_of_val(&number), number.to_be_bytes());
    let signature = key.sign(&payment);
    payment.extend(signature);
    let payment = Base64::encode_string(&payment);
    let request = format!(
        "GET /bench HTTP/1.1\r\nHost: localhost\r\nAccept: application/octet-stream\r\n{PAYMENT}: {payment}\r\n\r\n"
    );
    line.stream.write_all(request.as_bytes())?;
    line.read(|input| {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut response = Response::new(&mut headers);
        let Status::Complete(head) = response.parse(input)? else { return Ok(false) };
        let length: usize = std::str::from_utf8(header(response.headers, "Content-Length")?)?.parse()?;
        if response.code != Some(200) || length != size || header(response.headers, RECEIPT)?.is_empty() {
            return Err(format!("answer {number} is not the message").into());
        }
        Ok(input.len() >= head.saturating_add(length))
    })
}

fn header<'a>(headers: &[Header<'a>], name: &str) -> Result<&'a [u8], Failure> {
    let found = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    Ok(found.ok_or_else(|| format!("there is no header {name}"))?.value)
}

/// One end of the connection.
struct Line {
    stream: TcpStream,
    input: Vec<u8>,
    buffer: Vec<u8>,
}

impl Line {
    fn new(stream: TcpStream) -> Result<Self, Failure> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, input: Vec::new(), buffer: vec![0; READ_BYTES] })
    }

    /// Reads until all is there. Nothing comes behind it: the other side waits for us.
    fn read(&mut self, all_is_there: impl Fn(&[u8]) -> Result<bool, Failure>) -> Result<(), Failure> {
        self.input.clear();
        loop {
            let length = self.stream.read(&mut self.buffer)?;
            if length == 0 {
                return Err("the connection was closed".into());
            }
            self.input.extend_from_slice(self.buffer.get(..length).unwrap_or_default());
            if all_is_there(&self.input)? {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_counts_once_and_only_with_its_signature() {
        let key = SigningKey::from_seed(&Zeroizing::new([2; 32]));
        let mut payment = [7; SIGNED_BYTES].to_vec();
        payment.splice(..8, 5u64.to_be_bytes());
        payment.extend(key.sign(&payment));
        let text = Base64::encode_string(&payment);
        assert_eq!(text.len(), 500);
        check(&key.public(), 5, text.as_bytes()).unwrap();
        assert!(check(&key.public(), 6, text.as_bytes()).is_err(), "paid before");
        payment[100] ^= 1;
        assert!(check(&key.public(), 5, Base64::encode_string(&payment).as_bytes()).is_err(), "altered");
    }
}
