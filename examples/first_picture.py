"""Five lines from a prompt to a picture.

python examples/first_picture.py
"""

import unnoise

pipe = unnoise.load("emoji")
picture = pipe("a red apple, 3d", steps=20, seed=7).images[0]
picture.resize((256, 256), 0).save("apple.png")
