//! Field expressions, such as `price > 10 && symbol == "X"`, over packets without their types.
//!
//! ```text
//! any    = all { "||" all }
//! all    = one { "&&" one }
//! one    = "!" one | "(" any ")" | path [ operator literal ]
//! path   = "." | ["."] name { "." name | "[" number "]" }
//! operator = "==" | "!=" | "<" | "<=" | ">" | ">=" | "~"
//! literal  = number | "text" | 'text' | true | false | null
//! ```
//!
//! A comparison of a field that the packet does not have is false, except with `null`, which such a
//! field equals.

use packetring::dynamic::{Value, ValueKind};
use std::cmp::Ordering;

/// Deepest nesting of an expression.
const DEEPEST: usize = 64;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    /// The field is there, and neither `false` nor `null`.
    Is(Path),
    Compare(Path, Operator, Literal),
}

/// The way to a field; empty for the whole packet.
type Path = Vec<Step>;

/// A step to a part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Field(String),
    Index(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Whole(i128),
    Float(f64),
    Text(String),
    Bool(bool),
    Null,
}

impl Filter {
    /// Reads an expression; the error says where it ends to be one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let filter = parser.any()?;
        parser.skip_space();
        match parser.rest() {
            "" => Ok(filter),
            _ => Err(parser.error("`&&`, `||` or the end")),
        }
    }

    /// Returns true if a packet fits.
    pub(crate) fn fits(&self, packet: Value<'_>) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.fits(packet)),
            Self::All(parts) => parts.iter().all(|part| part.fits(packet)),
            Self::Not(part) => !part.fits(packet),
            Self::Is(path) => {
                let found = follow(packet, path);
                found.is_some_and(|value| !value.is_none() && value.as_bool() != Some(false))
            }
            Self::Compare(path, operator, literal) => {
                compare(follow(packet, path), *operator, literal)
            }
        }
    }
}

fn follow<'a>(packet: Value<'a>, path: &[Step]) -> Option<Value<'a>> {
    path.iter().try_fold(packet, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::Index(index) => value.at(*index),
    })
}

fn compare(found: Option<Value<'_>>, operator: Operator, literal: &Literal) -> bool {
    if *literal == Literal::Null {
        let is_null = found.is_none_or(|value| value.is_none());
        return match operator {
            Operator::Equal => is_null,
            Operator::NotEqual => !is_null,
            _ => false,
        };
    }
    let Some(value) = found.filter(|value| !value.is_none()) else { return false };
    let mut single = [0; 4];
    let text = match value.kind() {
        ValueKind::Enum => value.variant(),
        _ => value.as_str().or_else(|| Some(value.as_char()?.encode_utf8(&mut single))),
    };
    let order = match (literal, operator) {
        (Literal::Text(part), Operator::Contains) => {
            return text.is_some_and(|text| text.contains(part.as_str()));
        }
        (_, Operator::Contains) => return false,
        (Literal::Text(other), _) => text.map(|text| text.cmp(other.as_str())),
        (Literal::Bool(other), _) => value.as_bool().map(|value| value.cmp(other)),
        (Literal::Whole(other), _) => whole(value, *other),
        (Literal::Float(other), _) => float(value).and_then(|value| value.partial_cmp(other)),
        (Literal::Null, _) => None,
    };
    order.is_some_and(|order| match operator {
        Operator::Equal => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
        Operator::Contains => false,
    })
}

fn whole(value: Value<'_>, other: i128) -> Option<Ordering> {
    if let Some(number) = value.as_i128() {
        return Some(number.cmp(&other));
    }
    if value.as_u128().is_some() {
        return Some(Ordering::Greater); // beyond each `i128`
    }
    value.as_f64()?.partial_cmp(&(other as f64))
}

fn float(value: Value<'_>) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| Some(value.as_i128()? as f64))
        .or_else(|| Some(value.as_u128()? as f64))
}

/// Reads an expression from its beginning.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn error(&self, expected: &str) -> String {
        let rest: String = self.rest().chars().take(20).collect();
        let found = if rest.is_empty() { "the end".to_owned() } else { format!("`{rest}`") };
        format!("expected {expected} at character {}, found {found}", self.at + 1)
    }

    /// Takes a token, if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    fn any(&mut self) -> Result<Filter, String> {
        let mut parts = vec![self.all()?];
        while self.take("||") {
            parts.push(self.all()?);
        }
        Ok(single(parts, Filter::Any))
    }

    fn all(&mut self) -> Result<Filter, String> {
        let mut parts = vec![self.one()?];
        while self.take("&&") {
            parts.push(self.one()?);
        }
        Ok(single(parts, Filter::All))
    }

    fn one(&mut self) -> Result<Filter, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("the expression nests more than {DEEPEST} deep"));
        }
        let filter = self.one_inside();
        self.depth -= 1;
        filter
    }

    fn one_inside(&mut self) -> Result<Filter, String> {
        if self.take("!") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.take("(") {
            let filter = self.any()?;
            return if self.take(")") { Ok(filter) } else { Err(self.error("`)`")) };
        }
        let path = self.path()?;
        const OPERATORS: [(&str, Operator); 7] = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            ("<", Operator::Less),
            (">=", Operator::GreaterOrEqual),
            (">", Operator::Greater),
            ("~", Operator::Contains),
        ];
        match OPERATORS.iter().find(|(token, _)| self.take(token)) {
            Some((_, operator)) => Ok(Filter::Compare(path, *operator, self.literal()?)),
            None if self.take("=") => Err(self.error("`==`, for a single `=` compares nothing,")),
            None => Ok(Filter::Is(path)),
        }
    }

    fn path(&mut self) -> Result<Path, String> {
        let starts_with_dot = self.take(".");
        let mut path = Vec::new();
        loop {
            let is_first = path.is_empty();
            if self.rest().starts_with('[') {
                self.at += 1;
                let digits = self.word(|c| c.is_ascii_digit());
                let index = digits.parse().map_err(|_| self.error("an index"))?;
                if !self.take("]") {
                    return Err(self.error("`]`"));
                }
                path.push(Step::Index(index));
            } else if is_first || self.rest().starts_with('.') {
                if !is_first {
                    self.at += 1;
                }
                let name = self.word(|c| c.is_alphanumeric() || c == '_');
                match (name.is_empty(), is_first && starts_with_dot) {
                    (false, _) => path.push(Step::Field(name)),
                    (true, true) => return Ok(path), // the whole packet
                    (true, false) => return Err(self.error("a field")),
                }
            } else {
                return Ok(path);
            }
        }
    }

    /// Takes the characters that fit.
    fn word(&mut self, fits: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        let word = rest[..end].to_owned();
        self.at += end;
        word
    }

    fn literal(&mut self) -> Result<Literal, String> {
        self.skip_space();
        for quote in ['"', '\''] {
            if self.rest().starts_with(quote) {
                return self.text_literal(quote);
            }
        }
        let start = self.at;
        let word = self.word(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'));
        let number = word.replace('_', "");
        match word.as_str() {
            "true" => return Ok(Literal::Bool(true)),
            "false" => return Ok(Literal::Bool(false)),
            "null" => return Ok(Literal::Null),
            _ => {}
        }
        if let Ok(number) = number.parse() {
            return Ok(Literal::Whole(number));
        }
        let is_number =
            number.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        match number.parse().ok().filter(|_| is_number) {
            Some(number) => Ok(Literal::Float(number)),
            None => {
                self.at = start;
                Err(self.error("a number, a text in quotes, true, false or null"))
            }
        }
    }

    fn text_literal(&mut self, quote: char) -> Result<Literal, String> {
        let (mut text, mut is_escaped) = (String::new(), false);
        let content = &self.rest()[1..];
        for (index, c) in content.char_indices() {
            match (is_escaped, c) {
                (true, 'n') => text.push('\n'),
                (true, 't') => text.push('\t'),
                (true, c) => text.push(c),
                (false, '\\') => {
                    is_escaped = true;
                    continue;
                }
                (false, c) if c == quote => {
                    self.at += 1 + index + 1;
                    return Ok(Literal::Text(text));
                }
                (false, c) => text.push(c),
            }
            is_escaped = false;
        }
        Err(self.error("a text with a quote at its end"))
    }
}

fn single(mut parts: Vec<Filter>, all: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            all(parts)
        }
        None => all(parts),
    }
}

#[cfg(test)]
mod tests;
