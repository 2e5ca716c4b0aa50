# The development chain (anvil) and the Blob emulator (Azurite), at the versions of package-lock.json.
FROM node:20-slim
WORKDIR /opt/tools
COPY package.json package-lock.json .npmrc ./
RUN npm ci
ENV PATH=/opt/tools/node_modules/.bin:/opt/tools/node_modules/@foundry-rs/anvil-linux-amd64/bin:$PATH
