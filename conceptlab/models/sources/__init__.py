"""Where networks come from: built in, torchvision, timm, files; one module each."""
