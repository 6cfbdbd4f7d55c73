//! DER as a tree, to be changed anywhere and written again with every length right.

use libfuzzer_sys::fuzzer_mutate;

use crate::dice::Dice;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The identifier octet; longer ones do not occur in certificates.
    pub tag: u8,
    /// What stands before the nested elements: a BIT STRING's count of unused bits.
    prefix: Vec<u8>,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Octets(Vec<u8>),
    Elements(Vec<Node>),
}

const CONSTRUCTED: u8 = 0x20;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
/// Deeper than any certificate; bounds the recursion.
const DEPTH: usize = 16;

/// Reads a series of elements that fills `der` to the last octet.
pub fn read(der: &[u8]) -> Option<Vec<Node>> {
    read_within(der, DEPTH)
}

pub fn write(nodes: &[Node]) -> Vec<u8> {
    nodes.iter().flat_map(Node::write).collect()
}

fn read_within(mut der: &[u8], depth: usize) -> Option<Vec<Node>> {
    let depth = depth.checked_sub(1)?;
    let mut nodes = Vec::new();
    while let [tag, first, rest @ ..] = der {
        let (length, rest) = match (*first, rest) {
            (0..=0x7f, rest) => (usize::from(*first), rest),
            (0x81, [length, rest @ ..]) => (usize::from(*length), rest),
            (0x82, [high, low, rest @ ..]) => {
                (usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        nodes.push(Node::read(*tag, content, depth));
        der = after;
    }
    der.is_empty().then_some(nodes)
}

impl Node {
    fn read(tag: u8, content: &[u8], depth: usize) -> Self {
        // Extension values and keys are DER inside a string.
        let (prefix, inner) = match (tag, content) {
            (BIT_STRING, [0, inner @ ..]) => (&content[..1], inner),
            (BIT_STRING, _) => (&content[..0], &content[..0]),
            _ => (&content[..0], content),
        };
        let may_nest = tag & CONSTRUCTED != 0 || matches!(tag, BIT_STRING | OCTET_STRING);
        let elements = (may_nest && !inner.is_empty())
            .then(|| read_within(inner, depth))
            .flatten();
        match elements {
            Some(elements) => Self {
                tag,
                prefix: prefix.to_vec(),
                content: Content::Elements(elements),
            },
            None => Self {
                tag,
                prefix: Vec::new(),
                content: Content::Octets(content.to_vec()),
            },
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut content = self.prefix.clone();
        match &self.content {
            Content::Octets(octets) => content.extend(octets),
            Content::Elements(elements) => content.extend(write(elements)),
        }
        let mut der = vec![self.tag];
        match content.len() {
            length @ 0..=0x7f => der.push(length as u8),
            length @ 0x80..=0xff => der.extend([0x81, length as u8]),
            length => {
                der.push(0x82);
                der.extend((length.min(0xffff) as u16).to_be_bytes());
            }
        }
        der.extend(content);
        der
    }

    pub fn elements_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.content {
            Content::Elements(elements) => Some(elements),
            Content::Octets(_) => None,
        }
    }

    pub fn elements(&self) -> &[Node] {
        match &self.content {
            Content::Elements(elements) => elements,
            Content::Octets(_) => &[],
        }
    }

    fn count(&self) -> usize {
        1 + count(self.elements())
    }
}

fn count(nodes: &[Node]) -> usize {
    nodes.iter().map(Node::count).sum()
}

/// The list that holds the element with this number in pre-order, and its place there.
fn place(nodes: &mut Vec<Node>, mut number: usize) -> Option<(&mut Vec<Node>, usize)> {
    let mut found = None;
    for (index, node) in nodes.iter().enumerate() {
        let size = node.count();
        if number < size {
            found = Some(index);
            break;
        }
        number -= size;
    }
    let index = found?;
    if number == 0 {
        return Some((nodes, index));
    }
    place(nodes[index].elements_mut()?, number - 1)
}

/// One change to a random element. `donor` gives elements that occur elsewhere.
pub fn mutate(nodes: &mut Vec<Node>, donor: &[Node], dice: &mut Dice) {
    let total = count(nodes);
    let Some((list, index)) = place(nodes, dice.below(total)) else {
        return;
    };
    match dice.below(12) {
        0 => {
            list.remove(index);
        }
        1 => list.insert(index, list[index].clone()),
        2 => {
            let other = dice.below(list.len());
            list.swap(index, other);
        }
        3 => {
            // Context tags and string types are where meanings lie close together.
            const TAGS: [u8; 16] = [
                0x01, 0x02, 0x05, 0x06, 0x0c, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1e, 0x80, 0x81, 0x82,
                0x86, 0x87,
            ];
            list[index].tag = TAGS[dice.below(TAGS.len())];
        }
        4 | 5 => {
            let mut donor = donor.to_vec();
            let number = dice.below(count(&donor));
            if let Some((from, at)) = place(&mut donor, number) {
                let element = from.swap_remove(at);
                if dice.one_in(2) {
                    list[index] = element;
                } else {
                    list.insert(index, element);
                }
            }
        }
        _ => mutate_content(&mut list[index], dice),
    }
}

fn mutate_content(node: &mut Node, dice: &mut Dice) {
    match &mut node.content {
        Content::Octets(octets) => {
            const GROWTH: usize = 16;
            let size = octets.len();
            octets.resize(size + GROWTH, 0);
            // libFuzzer insists on room for an octet.
            let room = (size + dice.below(GROWTH + 1)).max(1);
            let size = fuzzer_mutate(octets, size, room);
            octets.truncate(size);
        }
        Content::Elements(elements) if elements.len() > 1 => {
            let (from, to) = (dice.below(elements.len()), dice.below(elements.len()));
            let element = elements.remove(from);
            elements.insert(to, element);
        }
        Content::Elements(elements) => elements.clear(),
    }
}
