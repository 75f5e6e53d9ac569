//! Choices that are made by the bytes of an input.

/// Takes choices from the front of an input. An input that is used up chooses 0.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let number = usize::from(self.byte()) << 8 | usize::from(self.byte());
        number % end.max(1)
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// Up to 255 bytes, whose number comes first.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// The ends of the parts in which `bytes` are fed: first a few that `choices` makes, then
/// equal ones.
pub fn splits(bytes: &[u8], choices: [u8; 4]) -> Vec<usize> {
    let step = usize::from(choices[3] % 32) + 1;
    let mut ends = vec![];
    let mut at = 0;
    for choice in choices {
        at += usize::from(choice);
        if at < bytes.len() {
            ends.push(at);
        }
    }
    // Many single bytes of a long input would only take time.
    let step = step.max(bytes.len() / 512);
    while at + step < bytes.len() {
        at += step;
        ends.push(at);
    }
    ends.push(bytes.len());
    ends
}
