"""Fixed prompts: what no caption says, colours that no picture has, and the sheet that the model card shows."""

OFF_VOCABULARY = (
    "a stallion", "a feline", "spectacles", "an arachnid", "a rodent", "a lorry", "a steamship", "a galaxy",
    "a blaze", "a skyscraper", "a primate", "a reptile", "a pastry", "a beverage", "a vehicle", "a fruit",
    "a wizard hat", "a poodle", "a wolf", "a seagull",
)  # fmt: skip

COLOURED = (
    "a blue apple", "a red frog", "a green cat", "a purple car", "a yellow rocket", "a pink elephant", "a blue tree",
    "an orange butterfly", "a green rose", "a purple fish", "a red whale", "a yellow house", "a pink shark",
    "a blue banana", "a green strawberry", "an orange snail", "a red turtle", "a purple pizza", "a yellow dolphin",
    "a pink cactus",
)  # fmt: skip

SHEET = (
    "a red apple, 3d", "a banana, flat", "a strawberry, noto", "a pizza, 3d",
    "a hamburger, noto", "a cookie, noto", "an ice cream, 3d", "a birthday cake, flat",
    "a dog, 3d", "a cat, noto", "a tiger, noto", "a unicorn, 3d",
    "a panda, flat", "a fox, noto", "a frog, 3d", "a monkey, noto",
    "a penguin, 3d", "an owl, noto", "a duck, flat", "a chick, 3d",
    "a whale, noto", "an octopus, 3d", "a fish, noto", "a turtle, flat",
    "a butterfly, 3d", "a bee, noto", "a ladybug, flat", "a snail, 3d",
    "a rose, noto", "a sunflower, 3d", "a tulip, noto", "a cactus, flat",
    "a tree, 3d", "a sun, noto", "a moon, 3d", "a star, flat",
    "a rainbow, noto", "a cloud, 3d", "a fire, flat", "a snowman, 3d",
    "a house, noto", "a castle, 3d", "a car, flat", "a bus, noto",
    "a bicycle, 3d", "a rocket, 3d", "an airplane, noto", "a boat, flat",
    "a soccer ball, 3d", "a guitar, noto", "a camera, 3d", "a laptop, flat",
    "a light bulb, 3d", "a key, noto", "a crown, 3d", "a present, flat",
    "a happy face, noto", "a sad face, 3d", "an angry face, noto", "a ghost, 3d",
    "an alien, noto", "a robot, 3d", "a red heart, flat", "a blue heart, 3d",
)  # fmt: skip
