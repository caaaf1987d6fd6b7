//! As much of MySQL's protocol as it takes to see a batch of a journal pass, and what the server says to it.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>: each packet has a head of three bytes with its length and
//! one with its number.

const HEAD: usize = 4;
const COM_QUERY: u8 = 3;
const OK: u8 = 0;
const ERR: u8 = 0xff;
/// `SERVER_MORE_RESULTS_EXISTS`: the answer to the next statement of the same request follows.
const MORE_FOLLOWS: u16 = 8;

/// What a batch begins with: its fence.
const BEGINS: &[u8] = b"START TRANSACTION;\nINSERT INTO journals (";
const ENDS: &[u8] = b"COMMIT";

/// Takes the first whole packet out of what has come so far, with its head.
pub fn take_packet(come: &mut Vec<u8>) -> Option<Vec<u8>> {
    let [a, b, c, _number] = *come.first_chunk::<HEAD>()?;
    let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
    if come.len() < HEAD + length {
        return None;
    }
    let rest = come.split_off(HEAD + length);
    Some(std::mem::replace(come, rest))
}

/// Whether this packet asks for a whole batch of a journal, from its fence to its COMMIT.
pub fn is_batch(packet: &[u8]) -> bool {
    let text = packet.get(HEAD..).and_then(|body| body.split_first());
    text.is_some_and(|(command, text)| {
        *command == COM_QUERY && text.starts_with(BEGINS) && text.ends_with(ENDS)
    })
}

/// What the server says to a batch in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is written.
    Committed,
    /// Its fence refused it: the lease is gone.
    Fenced,
    /// Something else was wrong with it; nothing is written.
    Refused,
}

/// What this packet of an answer says about the whole batch; `None` while more follows.
pub fn end_of_answer(packet: &[u8]) -> Option<Answer> {
    let (kind, rest) = packet.get(HEAD..)?.split_first()?;
    match *kind {
        ERR if contains(rest, b"'epoch' cannot be null") => Some(Answer::Fenced),
        ERR => Some(Answer::Refused),
        OK => (status(rest)? & MORE_FOLLOWS == 0).then_some(Answer::Committed),
        // A row, or what goes before rows.
        _ => None,
    }
}

/// The server's status in a packet that says OK, after two numbers of which the first byte tells the length.
fn status(rest: &[u8]) -> Option<u16> {
    let skip = |bytes: &[u8]| match bytes.first() {
        Some(0xfc) => 3,
        Some(0xfd) => 4,
        Some(0xfe) => 9,
        _ => 1,
    };
    let rest = rest.get(skip(rest)..)?;
    let rest = rest.get(skip(rest)..)?;
    rest.first_chunk::<2>().copied().map(u16::from_le_bytes)
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len()).expect("short");
        [&[length, 0, 0, 1], body].concat()
    }

    #[test]
    fn packets_are_taken_whole_and_in_order() {
        let (one, two) = (packet(b"\x03SELECT 1"), packet(b"\x01"));
        let mut come = [&one[..], &two[..3]].concat();
        assert_eq!(take_packet(&mut come), Some(one));
        assert_eq!(take_packet(&mut come), None);
        come.extend_from_slice(&two[3..]);
        assert_eq!(take_packet(&mut come), Some(two));
        assert_eq!(take_packet(&mut come), None);
    }

    #[test]
    fn only_a_whole_batch_is_one() {
        let batch = b"\x03START TRANSACTION;\nINSERT INTO journals (x) VALUES (1);\nCOMMIT";
        assert!(is_batch(&packet(batch)));
        assert!(!is_batch(&packet(&batch[..batch.len() - 1])));
        assert!(!is_batch(&packet(
            b"\x03START TRANSACTION;\nINSERT INTO partitions (x) VALUES (1);\nCOMMIT"
        )));
        assert!(!is_batch(&packet(b"\x03COMMIT")));
        assert!(!is_batch(b""));
    }

    #[test]
    fn the_last_word_of_an_answer_is_understood() {
        let begun = packet(&[OK, 0, 0, 9, 0, 0, 0]);
        let many_rows = packet(&[OK, 0xfc, 0, 1, 0, 8, 0, 0, 0]);
        let committed = packet(&[OK, 0, 0, 2, 0, 0, 0]);
        let row = packet(&[1, b'1']);
        for more in [begun, many_rows, row] {
            assert_eq!(end_of_answer(&more), None);
        }
        assert_eq!(end_of_answer(&committed), Some(Answer::Committed));
        let fenced = b"\xff\x18\x04#23000Column 'epoch' cannot be null";
        assert_eq!(end_of_answer(&packet(fenced)), Some(Answer::Fenced));
        let other = b"\xff\x18\x04#23000Column 'batch_no' cannot be null";
        assert_eq!(end_of_answer(&packet(other)), Some(Answer::Refused));
    }
}
