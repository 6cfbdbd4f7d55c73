//! Several byte strings in one input: two bytes of settings, then frames of a kind, a length and
//! content. Every input can be read, whatever was done to it.

#[derive(Clone, Debug, Default)]
pub struct Input {
    pub settings: [u8; 2],
    pub frames: Vec<Frame>,
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub bytes: Vec<u8>,
}

impl Input {
    pub fn read(data: &[u8]) -> Self {
        let mut input = Self::default();
        let (settings, mut rest) = data.split_at(data.len().min(2));
        input.settings[..settings.len()].copy_from_slice(settings);
        while let [kind, high, low, content @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            // A length that runs over the end takes what there is.
            let (bytes, after) = content.split_at(length.min(content.len()));
            input.frames.push(Frame {
                kind: *kind,
                bytes: bytes.to_vec(),
            });
            rest = after;
        }
        input
    }

    /// Frames longer than a length can say are cut.
    pub fn write(&self) -> Vec<u8> {
        let mut data = self.settings.to_vec();
        for frame in &self.frames {
            let length = u16::try_from(frame.bytes.len()).unwrap_or(u16::MAX);
            data.push(frame.kind);
            data.extend(length.to_be_bytes());
            data.extend(&frame.bytes[..usize::from(length)]);
        }
        data
    }
}
