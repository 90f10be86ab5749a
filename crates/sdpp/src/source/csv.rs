//! Records of a CSV file (RFC 4180), taken apart strictly: a quote that is wrong is told, not guessed.

/// Whether all quotes are closed, so that the record ends with its line.
pub(super) fn is_whole(record: &[u8]) -> bool {
    record.iter().filter(|byte| **byte == b'"').count().is_multiple_of(2)
}

/// Takes a record apart into its fields.
///
/// # Errors
/// What is wrong, for people.
pub(super) fn split(record: &str, delimiter: char) -> Result<Vec<String>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = record;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => plain_field(rest, delimiter)?,
        };
        fields.push(field);
        match after.strip_prefix(delimiter) {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("something stands between a closing quote and the end of its field"),
        }
    }
}

fn plain_field(rest: &str, delimiter: char) -> Result<(String, &str), &'static str> {
    let (field, after) = rest.split_at(rest.find(delimiter).unwrap_or(rest.len()));
    if field.contains('"') {
        return Err("a quote stands inside a field that does not begin with one");
    }
    Ok((field.to_owned(), after))
}

/// A field whose opening quote was taken; two quotes stand for one.
fn quoted_field(quoted: &str) -> Result<(String, &str), &'static str> {
    let mut field = String::new();
    let mut rest = quoted;
    loop {
        let (text, after) = rest.split_once('"').ok_or("a quote is never closed")?;
        field.push_str(text);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Ok((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_apart() {
        let fields = |record| split(record, ',');
        assert_eq!(fields("a,b,,d").unwrap(), ["a", "b", "", "d"]);
        assert_eq!(fields("\"a,1\",\"say \"\"hi\"\"\",\"\"").unwrap(), ["a,1", "say \"hi\"", ""]);
        assert_eq!(fields("\"two\nlines\",x").unwrap(), ["two\nlines", "x"]);
        assert_eq!(fields("").unwrap(), [""]);
        assert_eq!(fields("a,").unwrap(), ["a", ""]);
        assert_eq!(split("1,5;\"x;y\"", ';').unwrap(), ["1,5", "x;y"]);
        for bad in ["a\"b,c", "\"a\"b,c", "\"a", "\"a\" ,b"] {
            assert!(fields(bad).is_err(), "{bad}");
        }
        assert!(is_whole(b"a,\"b\"") && !is_whole(b"a,\"b"));
    }
}
